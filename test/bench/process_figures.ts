/** What Linux says of a process. Source: proc(5). */
import { readFile, writeFile } from 'node:fs/promises';

const CLOCK_TICKS_A_SECOND = 100;

/** User and system time: fields 14 and 15 of its stat file. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_A_SECOND;
}

/** What it has in memory now, and the most it had since its start or since `forgetPeak`. */
export async function memoryBytes(pid: number, what: 'now' | 'peak'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const line = what === 'now' ? /VmRSS:\s+(\d+) kB/ : /VmHWM:\s+(\d+) kB/;
  return Number(line.exec(status)?.[1]) * 1024;
}

/** Lets the peak begin anew, at what the process has now. */
export async function forgetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5');
}
