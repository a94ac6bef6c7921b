// Any JSON value, where Muster only carries it: a task's parameters, a result.
import { z } from 'zod';

/**
 * Typed as JSON, not checked node by node: z.json() tries six schemas on each, 35 us for 1 KiB, more than all else a submission costs.
 * Nothing else can get here: what arrives comes from JSON.parse, and what a caller gives goes through JSON.stringify, which refuses
 * circles and BigInts (tasks/prepare.ts). The capability's own schema checks what is inside.
 */
export const json = z.unknown() as unknown as z.ZodType<Json, Json>;
export type Json = z.infer<ReturnType<typeof z.json>>;
