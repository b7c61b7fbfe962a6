/** The process environment. Read here and nowhere else, so that what a command depends on is visible in its arguments. */
export type Environment = Readonly<Record<string, string | undefined>>;

export function processEnvironment(): Environment {
  return process.env;
}
