/** One wording for every name that the configuration gets wrong: a key, a component type, a reference. */

const MAX_NAME_CHARS = 64;

/** Says that `found` is no known `noun`, what it probably stands for, and what is allowed. */
export function unknownName(noun: string, found: string, allowed: readonly string[]): string {
  const list = allowed.length === 0 ? 'none here' : allowed.join(', ');
  const guess = closest(found, allowed);
  return `unknown ${noun} \`${found}\`; ${guess === undefined ? '' : `did you mean \`${guess}\`? `}allowed: ${list}`;
}

/** The candidate that differs from `word` in at most a third of its letters, if there is one. */
export function closest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.slice(0, MAX_NAME_CHARS), candidate.slice(0, MAX_NAME_CHARS));
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Insertions, deletions, substitutions and swaps of neighbours that lead from one word to the other. */
function editDistance(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const change = from[row - 1] === to[column - 1] ? 0 : 1;
      const isSwap = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      current.push(
        Math.min(
          at(last, column) + 1,
          at(current, column - 1) + 1,
          at(last, column - 1) + change,
          isSwap ? at(beforeLast, column - 2) + 1 : Infinity,
        ),
      );
    }
    [beforeLast, last] = [last, current];
  }
  return at(last, to.length);
}

const at = (distances: readonly number[], column: number) => distances[column] ?? Infinity;
