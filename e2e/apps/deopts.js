// Optimizes a function and breaks what it was optimized for, some forty times a second.
'use strict';
let number = 0;
let sum = 0;

function turn() {
  // Each time a function of a source of its own: V8 gives up on one that is deoptimized often.
  const planted = new Function(`return function planted(a, b) { return a + b /* ${number++} */ }`)();
  const until = Date.now() + 20;
  while (Date.now() < until) for (let at = 0; at < 3000; at++) sum = (sum + planted(at, 1)) | 0;
  // No longer small integers.
  for (let at = 0; at < 200; at++) sum += planted('x', at).length;
  setTimeout(turn, 5);
}

turn();
