/** Entry of a manager's process: `node dist/cli/manager.js`.
 *  MUSTER_METRICS_PORT says where /metrics is served. */
import { serve } from '../agent/serve.js';
import { runMember } from './member.js';

void runMember(() => serve());
