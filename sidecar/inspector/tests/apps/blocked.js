// Blocks its event loop until somebody sets `unblock`.
console.log('ready');
setImmediate(() => {
  while (!globalThis.unblock);
  setInterval(() => console.log('tick'), 20);
});
