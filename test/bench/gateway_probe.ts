/**
 * Loaded into a gateway process before its own code (`--import`): measures how long its event loop stands still, and
 * answers every message with the longest times since the last one. On a machine that is busy with other things the loop
 * stands still for their sake too; what it is itself to blame for is the CPU time that it takes at one go.
 */
const RESOLUTION_MS = 5;
const MICROS_A_MILLI = 1000;

let stallMs = 0;
let busyMs = 0;
let lookedAt = performance.now();
let cpuMs = threadCpuMs();

setInterval(look, RESOLUTION_MS).unref();
process.on('message', () => {
  look();
  process.send?.({ stallMs, busyMs });
  stallMs = 0;
  busyMs = 0;
});
process.channel?.unref();

function look(): void {
  const now = performance.now();
  const cpu = threadCpuMs();
  stallMs = Math.max(stallMs, now - lookedAt - RESOLUTION_MS);
  busyMs = Math.max(busyMs, cpu - cpuMs);
  lookedAt = now;
  cpuMs = cpu;
}

/** Of the thread that runs the event loop: what helpers do beside it stalls nobody. */
function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / MICROS_A_MILLI;
}
