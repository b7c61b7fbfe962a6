/** Small file systems that can be full, or read-only: tmpfs, which only root may mount. */
import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { Skip } from './row.ts';
import type { Stage } from './stage.ts';

/** Mounts one on the folder, which is made where it is missing, for the life of the stage, or of the process. */
export async function mountTmpfs({ closing }: Stage, directory: string, sizeMib: number): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  mount(['-t', 'tmpfs', '-o', `size=${sizeMib}m,mode=0700`, 'none', directory]);
  const unmount = (): void => void spawnSync('umount', ['--lazy', directory]);
  process.once('exit', unmount);
  closing.push(() => {
    process.off('exit', unmount);
    unmount();
  });
}

/** @param options such as `size=64m`, `ro` */
export function remount(directory: string, options: string): void {
  mount(['-o', `remount,${options}`, directory]);
}

function mount(args: readonly string[]): void {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' });
  if (status !== 0) throw new Skip(`nothing can be mounted here: ${(stderr ?? '').trim() || 'there is no mount'}`);
}
