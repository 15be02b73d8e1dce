// Is busy in burnCpu for half of the time, without any request. EXIT_AFTER_MS: ends by itself after that long.
'use strict';

function burnCpu(milliseconds) {
  const end = Date.now() + milliseconds;
  let x = 0;
  while (Date.now() < end) x = (x * 31 + 7) % 1000003;
  return x;
}

// V8 would inline burnCpu into its caller, whose time it would then be, if the call had one target only.
const work = [burnCpu, (n) => n + 1, (n) => n - 1, (n) => n * 2, (n) => n / 2, (n) => -n];
setInterval(() => {
  for (const part of work) part(20);
}, 40);
if (process.env.EXIT_AFTER_MS) setTimeout(() => process.exit(0), Number(process.env.EXIT_AFTER_MS));
