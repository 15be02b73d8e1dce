// An app that replaced what others rely on: a shim for process, timers that never fire, a require of its own.
import realTimers from 'node:timers';
const { setInterval } = realTimers;
globalThis.process = { version: 'v0.0.0', env: {} };
globalThis.setTimeout = () => 0;
globalThis.clearTimeout = () => {};
globalThis.console.log('ready');
setInterval(() => console.log('tick'), 20);
