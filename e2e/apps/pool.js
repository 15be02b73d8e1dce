// A main thread that waits, and two worker threads that work: as much as a half and a tenth of the time.
'use strict';
const { Worker, isMainThread, workerData } = require('node:worker_threads');
const vm = require('node:vm');

if (isMainThread) {
  for (const busy of [20, 4]) new Worker(__filename, { workerData: busy });
  setInterval(() => {}, 1000);
} else {
  // Never inlined: see busy.js.
  const crunch = vm.runInNewContext(
    `(function crunch${workerData}(milliseconds, now) {
      const end = now() + milliseconds;
      let x = 0;
      while (now() < end) for (let i = 0; i < 1000; i++) x = (x * 31 + i) % 1000003;
      return x;
    })`,
    {},
    { filename: '/app/crunch.js' },
  );
  setInterval(() => crunch(workerData, Date.now), 40);
}
