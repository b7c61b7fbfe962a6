/**
 * The gateway's own log: one JSON object a line on standard error, so that standard output stays with the commands.
 * An error goes under the key `err`, which prints its stack and its causes.
 */
import pino, { type DestinationStream, type Logger as PinoLogger } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** The part of pino that the gateway uses; `child` makes a logger that adds its fields to every line. */
export type Logger = Pick<PinoLogger, LogLevel | 'child'>;

const STANDARD_ERROR = 2;

/** Lines are written synchronously by default: the last one before a crash is the one that matters. */
export function createLogger(
  level: LogLevel,
  destination: DestinationStream = pino.destination({ fd: STANDARD_ERROR, sync: true }),
): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(options, destination);
}
