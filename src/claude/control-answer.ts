import { z } from 'zod';

/** The CLI's answer to a control request, as printed by 2.1.330; `status` is given by a claim alone. */
const ControlAnswer = z.looseObject({
  type: z.literal('control_response'),
  response: z.looseObject({
    subtype: z.string(),
    request_id: z.string(),
    response: z.looseObject({ status: z.string().optional() }).optional(),
  }),
});
const ControlAnswerLine = z
  .string()
  .transform((line, context): unknown => {
    try {
      return JSON.parse(line);
    } catch (error) {
      context.addIssue({ code: 'custom', message: String(error) });
      return z.NEVER;
    }
  })
  .pipe(ControlAnswer);

export interface ControlAnswer {
  requestId: string;
  succeeded: boolean;
  status: string | undefined;
}

/** Reads a line that answers a control request; `undefined` for every other line. */
export function readControlAnswer(line: string): ControlAnswer | undefined {
  const { data } = ControlAnswerLine.safeParse(line);
  if (data === undefined) return undefined;
  const { request_id: requestId, subtype, response } = data.response;
  return { requestId, succeeded: subtype === 'success', status: response?.status };
}
