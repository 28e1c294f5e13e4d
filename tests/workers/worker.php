<?php
// A worker that speaks goridge without any package, and does what the query of a request says:
// `/ws?do=slow`. What it is told it answers with 403 and the context that it got as body.
ini_set('display_errors', 'stderr');

function frame(int $flags, string $payload, array $options = [], int $stream = 0): string
{
    $header = pack('CCV', 1 << 4 | 3 + count($options), $flags, strlen($payload));
    return $header . pack('VCC', crc32($header), $stream, 0) . pack('V*', ...$options) . $payload;
}

function write(string $bytes): void
{
    global $out;
    fwrite($out, $bytes);
    fflush($out);
}

function answer(array $context, string $body = '', int $stream = 0): void
{
    $json = $context === [] ? '' : json_encode($context);
    write(frame(0, $json . $body, [strlen($json)], $stream));
}

/** [flags, stream bits, context], or null at the end. */
function receive(): ?array
{
    global $in;
    // One read, as the PHP client has it: a header in two pieces is a broken one.
    $header = fread($in, 12);
    if (strlen((string) $header) !== 12) {
        if ($header !== '' && $header !== false) {
            fwrite(STDERR, "Incorrect header size\n");
        }
        return null;
    }
    $head = unpack('Cfirst/Cflags/Vlength', $header);
    $rest = 4 * (($head['first'] & 15) - 3) + $head['length'];
    $payload = '';
    while (strlen($payload) < $rest) {
        $piece = fread($in, $rest - strlen($payload));
        if ($piece === '' || $piece === false) {
            return null;
        }
        $payload .= $piece;
    }
    return [$head['flags'], ord($header[10]), substr($payload, 4 * (($head['first'] & 15) - 3))];
}

function is_asked(): ?string
{
    while ([$flags, , $context] = receive()) {
        if (!($flags & 1)) {
            return $context;
        }
        $control = json_decode($context, true);
        if (!empty($control['stop'])) {
            if (getenv('WORKER_STOP') === 'ignore') {
                sleep(600);
            }
            return null;
        }
        write(frame(1, json_encode(['pid' => (int) getenv('WORKER_PID') ?: getmypid()])));
    }
    return null;
}

const STOP = '{"stop":true}';
$relay = getenv('RR_RELAY');
if ($relay === 'pipes') {
    [$in, $out] = [STDIN, STDOUT];
} else {
    $in = $out = stream_socket_client($relay);
}
switch (getenv('WORKER_BOOT')) {
    case 'exit':
        fwrite(STDERR, "cannot boot\n");
        exit(3);
    case 'noise':
        echo "PHP Warning:  Module \"x\" is already loaded in Unknown on line 0\n";
        break;
    case 'slow':
        sleep(600);
    case 'gone':
        receive();
        write(frame(1, json_encode(['pid' => getmypid()])));
        exit(0);
    case 'once':
        // The first starts fail, until the file is there.
        if (!file_exists(getenv('WORKER_FILE'))) {
            exit(1);
        }
}
fwrite(STDERR, 'booted in ' . getcwd() . "\n");
$kept = [];
$asked = 0;
while (($json = is_asked()) !== null) {
    $context = json_decode($json, true, 512, JSON_THROW_ON_ERROR);
    parse_str($context['rawQuery'], $query);
    $asked++;
    $allow = ['status' => 200, 'headers' => new stdClass()];
    $deny = fn (array $headers, string $body = '') => answer(['status' => 403, 'headers' => $headers], $body);
    switch ($query['do'] ?? 'allow') {
        case 'allow': answer($allow, '<p>a page</p>'); break;
        case 'echo': $deny(['X-Got' => ['yes', 'it did']], $json); break;
        case 'pid': $deny([], getmypid() . " $asked"); break;
        case 'env': $deny([], json_encode(getenv())); break;
        case 'status': answer(['status' => (int) $query['status'], 'headers' => []]); break;
        case 'crlf': $deny(['A' => ["1\r\nSet-Cookie: evil=1\r\n\r\nHTTP/1.1 200 OK"]], 'no'); break;
        case 'long': $deny(['A' => [str_repeat('x', 1 << 20)]]); break;
        case 'huge': $deny([], str_repeat('x', 5 << 20)); break;
        case 'slow': usleep(1000 * (int) $query['ms']); answer($allow); break;
        case 'exit': exit(0);
        case 'fail': exit(3);
        case 'kill': posix_kill(getmypid(), 9); break;
        case 'cut': write(substr(frame(0, 'xxxxxxxx', [4]), 0, 14)); exit(0);
        case 'text': echo "Notice: Undefined variable \$user\nand a second line\n"; break;
        case 'json': write(frame(0, '{"status":', [10])); break;
        case 'option': write(frame(0, 'x', [7])); break;
        case 'error': write(frame(0x40, 'boom: it failed')); break;
        case 'error-stop': write(frame(0x40, 'boom')); write(frame(0, STOP, [strlen(STOP)])); exit(0);
        case 'answer-stop': answer($allow); write(frame(0, STOP, [strlen(STOP)])); exit(0);
        case 'restart': write(frame(0, STOP, [strlen(STOP)])); exit(0);
        case 'restart-once':
            if (!file_exists($query['file'])) {
                touch($query['file']);
                write(frame(0, STOP, [strlen(STOP)]));
                exit(0);
            }
            answer($allow);
            break;
        case 'exit-once':
            if (!file_exists($query['file'])) {
                touch($query['file']);
                exit(0);
            }
            answer($allow);
            break;
        case 'answer-exit': answer($allow); exit(0);
        case 'twice': answer($allow); answer($allow); break;
        case 'late':
            answer($allow);
            usleep(50000);
            answer($allow);
            break;
        case 'grow': $kept[] = str_repeat('x', (int) $query['mib'] << 20); answer($allow); break;
        case 'parts':
            answer(['status' => 403, 'headers' => ['A' => ['1']]], 'one ', 1);
            answer([], 'two ', 1 | 4);
            [, $stream] = receive();
            answer([], $stream & 8 ? 'pong ' : 'nothing ', 1);
            answer([], 'three');
            break;
        case 'stderr':
            for ($i = 0; $i < $query['lines']; $i++) {
                fwrite(STDERR, "line $i of many\n");
            }
            answer($allow);
            break;
    }
}
