// A big program: FUNCTIONS (60,000 by default) functions that have all run, which Profiler.start has to list.
'use strict';
const vm = require('node:vm');

const files = Math.ceil(Number(process.env.FUNCTIONS || 60_000) / 200);
const live = [];
for (let file = 0; file < files; file++) {
  let text = '(function () { const all = [];\n';
  for (let i = 0; i < 200; i++) text += `all.push(function f${file}_${i}(x) { return x * ${i} + ${file}; });\n`;
  text += 'for (const one of all) one(1); return all; })()';
  live.push(vm.runInThisContext(text, { filename: `/app/generated/${file}.js` }));
}
setInterval(() => live[Math.floor(Math.random() * files)].forEach((one) => one(2)), 20);
