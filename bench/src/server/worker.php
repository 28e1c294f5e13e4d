<?php
// A worker that lets everybody in, and takes so many microseconds over it: goridge without any package.
ini_set('display_errors', 'stderr');

function send(int $flags, string $context): void
{
    $options = $flags & 1 ? '' : pack('V', strlen($context));
    $head = pack('CCV', 0x13 + ($options !== ''), $flags, strlen($context));
    fwrite(STDOUT, $head . pack('VCC', crc32($head), 0, 0) . $options . $context);
}

$delay = (int) ($argv[1] ?? 0);
while (strlen((string) $head = fread(STDIN, 12)) === 12) {
    ['words' => $words, 'flags' => $flags, 'length' => $length] = unpack('Cwords/Cflags/Vlength', $head);
    $rest = 4 * (($words & 15) - 3) + $length;
    for ($frame = ''; strlen($frame) < $rest; ) {
        $frame .= fread(STDIN, $rest - strlen($frame));
    }
    if ($flags & 1) {
        if (str_contains($frame, '"stop"')) {
            break;
        }
        send(1, json_encode(['pid' => getmypid()]));
        continue;
    }
    if ($delay > 0) {
        usleep($delay);
    }
    send(0, '{"status":200,"headers":{}}');
}
