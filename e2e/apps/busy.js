// Is busy in burnCpu for half of the time, without any request. EXIT_AFTER_MS: ends by itself after that long.
'use strict';
const vm = require('node:vm');

// V8 inlines a small hot function into its caller, whose time it would then be; never one of another context.
const burnCpu = vm.runInNewContext(
  `(function burnCpu(milliseconds, now) {
    const end = now() + milliseconds;
    let x = 0;
    while (now() < end) for (let i = 0; i < 1000; i++) x = (x * 31 + i) % 1000003;
    return x;
  })`,
  {},
  { filename: '/app/burn.js' },
);

setInterval(() => burnCpu(20, Date.now), 40);
if (process.env.EXIT_AFTER_MS) setTimeout(() => process.exit(0), Number(process.env.EXIT_AFTER_MS));
// Ends in order when it is asked to.
if (process.env.GRACEFUL) process.on('SIGTERM', () => process.exit(0));
