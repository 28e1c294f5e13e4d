<?php
// A worker that speaks goridge without any package, for the tests of access. Whoever has a cookie
// `session` may connect; nobody may join topics that begin with `secret`. `?slow=ms` takes time at
// joins, `?slow_in=ms` at the connect, `?remember=s` lets its verdicts be remembered, `?die` ends it,
// `?error=text` has it fail.
ini_set('display_errors', 'stderr');

function send(int $flags, string $context, string $body = ''): void
{
    $options = $flags & 1 ? '' : pack('V', strlen($context));
    $head = pack('CCV', 0x13 + ($options !== ''), $flags, strlen($context . $body));
    fwrite(STDOUT, $head . pack('VCC', crc32($head), 0, 0) . $options . $context . $body);
}

function answer(int $status, array $headers = [], string $body = ''): void
{
    send(0, json_encode(['status' => $status, 'headers' => (object) $headers]), $body);
}

while (strlen((string) $head = fread(STDIN, 12)) === 12) {
    ['words' => $words, 'flags' => $flags, 'length' => $length] = unpack('Cwords/Cflags/Vlength', $head);
    $options = 4 * (($words & 15) - 3);
    for ($frame = ''; strlen($frame) < $options + $length; ) {
        $frame .= fread(STDIN, $options + $length - strlen($frame));
    }
    $context = json_decode(substr($frame, $options), true);
    if ($flags & 1) {
        if (!empty($context['stop'])) {
            break;
        }
        send(1, json_encode(['pid' => getmypid()]));
        continue;
    }
    parse_str($context['rawQuery'], $query);
    if (isset($query['die'])) {
        exit(1);
    }
    if (isset($query['error'])) {
        send(64, '', $query['error']);
        continue;
    }
    $headers = isset($query['remember']) ? ['Roadcast-Remember' => [$query['remember']]] : [];
    if (isset($context['attributes']['ws:joinServer'])) {
        usleep(1000 * (int) ($query['slow_in'] ?? 0));
        $session = $context['cookies']['session'] ?? null;
        $session === null
            ? answer(401, ['WWW-Authenticate' => ['Session'], 'X-Why' => ['no cookie']], 'Log in first.')
            : answer(200, $headers + ['Roadcast-User' => [$session]]);
    } else {
        usleep(1000 * (int) ($query['slow'] ?? 0));
        $topics = explode(',', $context['attributes']['ws:joinTopics']);
        $secret = array_filter($topics, fn ($topic) => str_starts_with($topic, 'secret'));
        answer($secret ? 403 : 200, $secret ? [] : $headers);
    }
}
