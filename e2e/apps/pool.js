// A main thread that waits, and two worker threads that work: as much as a half and a tenth of the time. IDLE: none.
'use strict';
const { Worker, isMainThread, workerData } = require('node:worker_threads');

if (isMainThread) {
  for (const busy of process.env.IDLE ? [] : [20, 4]) new Worker(__filename, { workerData: busy });
  setInterval(() => {}, 1000);
} else {
  // Too long to be inlined: an inlined function has no frame.
  const crunch = eval(`(function crunch${workerData}(a) { ${'a = Math.sqrt(a + 1);'.repeat(500)} return a; })`);
  setInterval(() => {
    const end = Date.now() + workerData;
    while (Date.now() < end) crunch(1);
  }, 40);
}
