// The log a handler writes to: one JSON line on stderr each, with the ids of its task and trace. Pino is loaded with the first line.
import { redact } from './redact.js';
import { traceIdOf } from './tracing.js';

export interface HandlerLog {
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
}

/** `level` is MUSTER_LOG_LEVEL; `fields` stand in every line. */
export function createHandlerLog(level: string, fields: Readonly<Record<string, string>>): HandlerLog {
  let logger: import('pino').Logger | undefined;
  const line = (severity: 'info' | 'warn' | 'error', message: string, more: object): void => {
    if (level === 'silent') return;
    if (logger === undefined) {
      const { pino } = require('pino') as typeof import('pino');
      const destination = pino.destination({ dest: 2, sync: true });
      logger = pino({ level, base: null, formatters: { level: (label) => ({ level: label }) } }, destination);
    }
    const { traceparent, ...rest } = more as { traceparent?: string };
    const traceId = traceIdOf(traceparent);
    logger[severity](
      { ...fields, ...(redact(rest) as object), ...(traceId === undefined ? {} : { trace_id: traceId }) },
      message,
    );
  };
  return {
    info: (message, more = {}) => line('info', message, more),
    warn: (message, more = {}) => line('warn', message, more),
    error: (message, more = {}) => line('error', message, more),
  };
}
