import type { z } from 'zod';
import type { Issue } from './errors.ts';
import { ServiceError } from './errors.ts';

/**
 * Parses what a caller sent.
 * @throws ServiceError `invalid_request` naming every wrong field with its path
 */
export function parseInput<T extends z.ZodType>(schema: T, input: unknown): z.output<T> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.flatMap(toIssues);
  const detail = errors.map((issue) => (issue.path === '' ? issue.message : `${issue.path} ${issue.message}`));
  throw new ServiceError('invalid_request', detail.join('; '), { data: { errors } });
}

function toIssues(issue: z.core.$ZodIssue): Issue[] {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key].join('.'), message: 'is not a known field' }));
  }
  if (issue.code === 'invalid_key') {
    return issue.issues.map((inner) => ({ path: path.join('.'), message: inner.message }));
  }
  return [{ path: path.join('.'), message: plainText(issue) }];
}

/** The words of a schema's own refusals, in the form of all others: they follow the field's name. */
function plainText(issue: z.core.$ZodIssue): string {
  if (!/^(Too (small|big)|Invalid )/.test(issue.message)) return issue.message;
  switch (issue.code) {
    case 'too_small':
      return `must be ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}`;
    case 'too_big':
      return `must be at most ${issue.maximum}`;
    case 'invalid_type':
      return issue.message.endsWith('received undefined') ? 'is missing' : `must be of type ${issue.expected}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    default:
      return issue.message;
  }
}
