// Blocks its event loop until somebody sets `unblock`.
setImmediate(() => {
  console.log('ready');
  while (!globalThis.unblock);
  setInterval(() => console.log('tick'), 20);
});
