// Has a SIGUSR1 handler of its own, so that the signal opens no inspector.
'use strict';
process.on('SIGUSR1', () => console.log('got SIGUSR1'));
setInterval(() => {}, 1000);
