// A module of `--require`: blocks Node's own start until somebody sets `unblock`.
console.log('blocked');
while (!globalThis.unblock);
