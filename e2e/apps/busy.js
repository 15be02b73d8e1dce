// Is busy in burnCpu for half of the time, without any request. EXIT_AFTER_MS: ends by itself after that long.
'use strict';

function burnCpu(milliseconds) {
  const end = Date.now() + milliseconds;
  let x = 0;
  while (Date.now() < end) x = (x * 31 + 7) % 1000003;
  return x;
}

setInterval(() => burnCpu(20), 40);
if (process.env.EXIT_AFTER_MS) setTimeout(() => process.exit(0), Number(process.env.EXIT_AFTER_MS));
