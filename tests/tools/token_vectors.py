"""Tokens as PyJWT and cryptography make them, each with what is to be said of it: a line of JSON each, to stdout.

Run by scripts/token-vectors. Private keys are made anew each time, and kept nowhere.
"""

import base64
import hashlib
import hmac
import json

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NOW = 1_800_000_000
SECRET = "a secret of tests, which is as long as the hash of HS512 is: 64 bytes and more"
CLAIMS = {"sub": "7", "exp": NOW + 60}

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 3072)
P256 = ec.generate_private_key(ec.SECP256R1())
OTHER_P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(key, form=serialization.PublicFormat.SubjectPublicKeyInfo):
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def jwk(key, **more):
    of = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    kind = "RSA" if isinstance(key, rsa.RSAPrivateKey) else "EC" if isinstance(key, ec.EllipticCurvePrivateKey) else "OKP"
    return json.loads(of[kind].to_jwk(key.public_key())) | more


def jwks(*keys):
    return {"jwks": json.dumps({"keys": keys})}


def sign(key, algorithm, claims=CLAIMS, headers=None):
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def part(text):
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def by_hand(header, claims, secret):
    """Signed with HMAC, whatever the header says: PyJWT refuses to sign much of what must be refused."""
    message = part(header.encode()) + b"." + part(claims.encode())
    return (message + b"." + part(hmac.new(secret.encode(), message, hashlib.sha256).digest())).decode()


def changed(token, which, to=None):
    parts = token.split(".")
    text = parts[which]
    # The first character: the last one's bits may be padding.
    parts[which] = to if to is not None else ("A" if text[0] != "A" else "B") + text[1:]
    return ".".join(parts)


def line(name, keys, token, fault=None, now=NOW, user="7", **demands):
    said = {"fault": fault} if fault else {"user": user}
    print(json.dumps({"name": name, "now": now, **keys, **demands, "token": token, **said}))


def secret(text=SECRET):
    return {"secret": text}


def public(key):
    return {"public_key": pem(key)}


for algorithm, keys, key in [
    *((name, secret(), SECRET) for name in ("HS256", "HS384", "HS512")),
    *((name, public(RSA), RSA) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    ("ES256", public(P256), P256),
    ("ES384", public(P384), P384),
    ("EdDSA", public(ED), ED),
]:
    token = sign(key, algorithm)
    line(algorithm, keys, token)
    line(f"{algorithm}, its claims changed", keys, changed(token, 1, part(b'{"sub":"8"}').decode()), "signature")
    line(f"{algorithm}, its signature changed", keys, changed(token, 2), "signature")
    line(f"{algorithm}, without its signature", keys, changed(token, 2, ""), "signature")
    line(f"{algorithm}, named alone", keys, token, algorithms=[algorithm])
    other = "HS384" if algorithm != "HS384" else "HS256"
    if algorithm.startswith("HS"):
        line(f"{algorithm}, another one named", keys, token, "algorithm", algorithms=[other])

line("RSA PUBLIC KEY", {"public_key": pem(RSA, serialization.PublicFormat.PKCS1)}, sign(RSA, "RS256"))
line("3072 bits", public(OTHER_RSA), sign(OTHER_RSA, "PS384"))
line("another RSA key", public(RSA), sign(OTHER_RSA, "RS256"), "signature")
line("another EC key", public(P256), sign(OTHER_P256, "ES256"), "signature")
line("another secret", secret("another secret, which is as long as it must be"), sign(SECRET, "HS256"), "signature")

# Of the wrong family.
header = '{"alg":"HS256","typ":"JWT"}'
line("an RSA public key as a secret", public(RSA), by_hand(header, json.dumps(CLAIMS), pem(RSA)), "algorithm")
line("an EC public key as a secret", public(P256), by_hand(header, json.dumps(CLAIMS), pem(P256)), "algorithm")
line("an Ed25519 public key as a secret", public(ED), by_hand(header, json.dumps(CLAIMS), pem(ED)), "algorithm")
line("RS256 for a secret", secret(), sign(RSA, "RS256"), "algorithm")
line("ES256 for RSA", public(RSA), sign(P256, "ES256"), "algorithm")
line("RS256 for P-256", public(P256), sign(RSA, "RS256"), "algorithm")
line("ES384 for P-256", public(P256), sign(P384, "ES384"), "algorithm")
line("ES512", public(P256), sign(P521, "ES512"), "algorithm")
line("none", secret(), sign(None, "none"), "algorithm")
for name in ("none", "None", "NONE", "", "hs256"):
    line(f"alg is {name!r}", secret(), by_hand(json.dumps({"alg": name}), json.dumps(CLAIMS), SECRET), "algorithm")

# The header.
line("a critical extension", secret(), sign(SECRET, "HS256", headers={"crit": ["exp"]}), "malformed")
line("a key that it brings along", public(P256), sign(OTHER_P256, "ES256", headers={"jwk": jwk(OTHER_P256)}), "signature")
line("a kid for a key without one", public(P256), sign(P256, "ES256", headers={"kid": "x"}))
for name, text in [("no alg", "{}"), ("two alg", '{"alg":"HS256","alg":"HS256"}'), ("a list", "[]"), ("no JSON", "{"), ("alg is a number", '{"alg":1}'),
                   ("kid is a number", '{"alg":"HS256","kid":1}')]:
    line(f"header: {name}", secret(), by_hand(text, json.dumps(CLAIMS), SECRET), "malformed")

# The form.
good = sign(SECRET, "HS256")
for name, text in [("nothing", ""), ("dots", ".."), ("two parts", good.rsplit(".", 1)[0]), ("four parts", good + ".x"), ("encrypted", good + ".x.y"),
                   ("padding", good + "="), ("a blank behind", good + " "), ("not base64url", changed(good, 2, "++//"))]:
    line(f"form: {name}", secret(), text, "malformed")
line("form: a line feed", secret(), good.replace(".", ".\n", 1), "signature")

# Times.
def timed(name, claims, fault=None, now=NOW, **more):
    line(name, secret(), by_hand(header, json.dumps({"sub": "7"} | claims), SECRET), fault, now, **more)


timed("expired", {"exp": NOW - 1}, "expired")
timed("expires now", {"exp": NOW}, "expired")
timed("expires in a second", {"exp": NOW + 1})
timed("expired within the leeway", {"exp": NOW - 9}, leeway=10)
timed("expired past the leeway", {"exp": NOW - 10}, "expired", leeway=10)
timed("expires with a fraction", {"exp": NOW + 0.5})
timed("expires in all eternity", {"exp": 2**63})
timed("expires in 1e300 s", {"exp": 1e300})
timed("never expires", {})
timed("expired before 1970", {"exp": -5}, "expired")
timed("exp is a text", {"exp": str(NOW + 60)}, "malformed")
timed("exp is null", {"exp": None}, "malformed")
timed("exp is a list", {"exp": [NOW + 60]}, "malformed")
timed("valid now", {"nbf": NOW})
timed("valid in a second", {"nbf": NOW + 1}, "not_yet_valid")
timed("valid in a second, within the leeway", {"nbf": NOW + 10}, leeway=10)
timed("valid past the leeway", {"nbf": NOW + 11}, "not_yet_valid", leeway=10)
timed("nbf is a text", {"nbf": "0"}, "malformed")
timed("the clock went back", {"exp": NOW + 60, "nbf": NOW - 60}, "not_yet_valid", now=NOW - 3600)
timed("the clock went ahead", {"exp": NOW + 60, "nbf": NOW - 60}, "expired", now=NOW + 3600)

# Audience and issuer.
def whose(name, claims, fault=None, **demands):
    line(name, secret(), sign(SECRET, "HS256", {"sub": "7"} | claims), fault, **demands)


whose("the audience", {"aud": "ws"}, audience=["ws"])
whose("one of its audiences", {"aud": ["api", "ws"]}, audience=["ws", "push"])
whose("another audience", {"aud": "api"}, "audience", audience=["ws"])
whose("no audience where one is demanded", {}, "audience", audience=["ws"])
whose("no audiences", {"aud": []}, "audience", audience=["ws"])
whose("an audience where none is demanded", {"aud": "api"}, "audience")
whose("the issuer", {"iss": "https://id.example"}, issuer=["https://id.example"])
whose("another issuer", {"iss": "https://id.example/"}, "issuer", issuer=["https://id.example"])
whose("no issuer where one is demanded", {}, "issuer", issuer=["https://id.example"])
whose("an issuer where none is demanded", {"iss": "https://id.example"})
timed("aud is a number", {"aud": 7}, "malformed", audience=["ws"])
timed("aud is a list of numbers", {"aud": [7]}, "malformed", audience=["ws"])
timed("iss is a list", {"iss": ["a"]}, "issuer", issuer=["a"])

# Claims.
def claims(name, text, fault=None, **said):
    line(f"claims: {name}", secret(), by_hand(header, text, SECRET), fault, **said)


claims("sub is a number", '{"sub":7}')
claims("sub is a large number", '{"sub":18446744073709551615}', user="18446744073709551615")
claims("sub is a fraction", '{"sub":7.5}', "malformed")
claims("sub is an object", '{"sub":{}}', "malformed")
claims("sub is empty", '{"sub":""}', user=None)
claims("no sub", "{}", user=None)
claims("sub in another script", '{"sub":"J\\u00f6rg"}', user="Jörg")
claims("sub too long", json.dumps({"sub": "x" * 256}), "malformed")
claims("two sub", '{"sub":"6","sub":"7"}')
claims("a list", "[]", "malformed")
claims("no JSON", '{"sub":"7"', "malformed")
claims("something behind", '{"sub":"7"}{}', "malformed")
claims("topics are a text", '{"topics":"news"}', "malformed")
claims("topics are numbers", '{"topics":[1]}', "malformed")
claims("topics are no patterns", '{"topics":["a","b**"]}', "malformed")

# Sets of keys.
first, second = jwk(P256, kid="first", alg="ES256", use="sig"), jwk(RSA, kid="second", alg="RS256", use="sig")
line("set: by kid", jwks(first, second), sign(P256, "ES256", headers={"kid": "first"}))
line("set: by kid, the other", jwks(first, second), sign(RSA, "RS256", headers={"kid": "second"}))
line("set: without kid", jwks(first, second), sign(RSA, "RS256"))
line("set: unknown kid", jwks(first, second), sign(P256, "ES256", headers={"kid": "third"}), "unknown_key")
line("set: the kid of another key", jwks(first, second), sign(P256, "ES256", headers={"kid": "second"}), "algorithm")
line("set: unknown kid of another kind", jwks(first), sign(RSA, "RS256", headers={"kid": "third"}), "unknown_key")
line("set: signed by another", jwks(first, second), sign(OTHER_P256, "ES256", headers={"kid": "first"}), "signature")
line("set: its algorithm alone", jwks(first, second), sign(RSA, "PS256", headers={"kid": "second"}), "algorithm")
line("set: two of one kid", jwks(jwk(OTHER_P256, kid="first"), first), sign(P256, "ES256", headers={"kid": "first"}))
line("set: a key without kid", jwks(jwk(P256)), sign(P256, "ES256", headers={"kid": "any"}))
line("set: Ed25519 and P-384", jwks(jwk(ED, kid="e"), jwk(P384, kid="p")), sign(P384, "ES384", headers={"kid": "p"}))
line("set: Ed25519", jwks(jwk(ED, kid="e"), jwk(P384, kid="p")), sign(ED, "EdDSA", headers={"kid": "e"}))
oct_key = {"kty": "oct", "k": part(SECRET.encode()).decode(), "kid": "s"}
line("set: a secret is none", jwks(oct_key, first), sign(SECRET, "HS256", headers={"kid": "s"}), "algorithm")
