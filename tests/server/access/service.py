"""An application behind HTTP, for the tests of access. Asked by POST who may connect and who may join:
whoever has a cookie `session` may connect; nobody may join topics that begin with `secret`. The query
of the client's own request says what else: `slow_in=ms` takes time at the connect, `slow=ms` at joins,
`status=n` refuses so, `remember=s` lets verdicts be remembered, `large=n` has a body of so many bytes,
`head=n` a header of so many.

GET `/asked` tells what it was asked, and how many questions were under way at once. GET `/keys` gives what
was put there, with the status and `Cache-Control` that it was put with, and `/fetched` tells how often.

    PORT=0 service.py [certificate key]
"""

import json
import os
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

asked, under_way, most = [], 0, 0
keys, fetched = (404, {}, b""), 0
lock = threading.Lock()


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_PUT(self):
        global keys
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {"Cache-Control": self.headers["Cache-Control"]}
        keys = (int(self.headers["X-Status"]), headers, body)
        self.answer(200, {}, b"")

    def do_GET(self):
        global fetched
        if self.path == "/keys":
            fetched += 1
            return self.answer(*keys)
        if self.path == "/fetched":
            return self.answer(200, {}, str(fetched).encode())
        self.answer(200, {}, json.dumps({"most": most, "asked": asked}).encode())

    def do_POST(self):
        global under_way, most
        context = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        about = {"path": self.path, "headers": headers, "context": context}
        about["connection"] = self.client_address[1]
        with lock:
            asked.append(about)
            under_way += 1
            most = max(most, under_way)
        try:
            self.judge(context)
        finally:
            with lock:
                under_way -= 1

    def judge(self, context):
        query = {name: values[0] for name, values in parse_qs(context["rawQuery"]).items()}
        session = context["cookies"].get("session")
        joins = context["attributes"].get("ws:joinTopics")
        time.sleep(int(query.get("slow_in" if joins is None else "slow", 0)) / 1000)
        headers = {"Roadcast-Remember": query["remember"]} if "remember" in query else {}
        if "head" in query:
            headers["X-Large"] = "x" * int(query["head"])
        body = b"x" * int(query.get("large", 0))
        if "status" in query:
            self.answer(int(query["status"]), {"Location": "/elsewhere"} | headers, body)
        elif joins is not None:
            secret = any(topic.startswith("secret") for topic in joins.split(","))
            self.answer(403 if secret else 200, headers, body)
        elif session is None:
            more = {"WWW-Authenticate": "Session", "X-Why": "no cookie"}
            self.answer(401, headers | more, b"Log in first.")
        else:
            self.answer(200, headers | {"Roadcast-User": session}, body)

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass  # Whoever asked has had enough.

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", int(os.environ.get("PORT", "0"))), Service)
if len(sys.argv) > 1:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[1], sys.argv[2])
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
