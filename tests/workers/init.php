<?php
// What `server.on_init` runs: leaves a line for each time.
file_put_contents(getenv('WORKER_FILE'), getenv('INIT') . "\n", FILE_APPEND);
echo "initialised\n";
