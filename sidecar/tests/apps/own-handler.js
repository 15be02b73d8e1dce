// Uses SIGUSR1 for itself.
process.on('SIGUSR1', () => console.log('mine'));
setInterval(() => {}, 50);
console.log('ready 0');
