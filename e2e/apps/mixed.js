// A heap of so many MiB (an argument, or HEAP_MIB): small objects, arrays of numbers, strings.
'use strict';
const mib = Number(process.argv[2] || process.env.HEAP_MIB);
const keep = (globalThis.keep = []);
const used = () => process.memoryUsage().heapUsed / 2 ** 20;
for (let n = 0; used() < mib; ) {
  for (let i = 0; i < 2000; i++, n++) keep.push({ id: n, name: 'item ' + n, tags: [n, n + 1] });
  for (let i = 0; i < 100; i++) keep.push(new Array(200).fill(n));
  for (let i = 0; i < 100; i++) keep.push(('x' + n++).repeat(200).slice(1).toUpperCase());
}
console.log('ready');
setInterval(() => {}, 1000);
