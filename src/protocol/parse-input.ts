import type { z } from 'zod';
import type { Issue } from './errors.ts';
import { ServiceError } from './errors.ts';

/** A refusal names so many wrong fields at most: it never grows with what was sent. */
const MAX_ERRORS = 100;
/** Of a name that a caller made up, so many characters are given back. */
const MAX_NAME = 200;

/**
 * Parses what a caller sent.
 * @throws ServiceError `invalid_request` naming the wrong fields with their paths, up to 100 of them
 */
export function parseInput<T extends z.ZodType>(schema: T, input: unknown): z.output<T> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const errors = issuesOf(parsed.error.issues);
  const detail = errors.map((issue) => (issue.path === '' ? issue.message : `${issue.path} ${issue.message}`));
  throw new ServiceError('invalid_request', detail.join('; '), { data: { errors } });
}

function issuesOf(issues: readonly z.core.$ZodIssue[]): Issue[] {
  const found = issues.slice(0, MAX_ERRORS + 1).flatMap(toIssues);
  if (found.length <= MAX_ERRORS) return found;
  return [...found.slice(0, MAX_ERRORS), { path: '', message: `and more; the first ${MAX_ERRORS} are listed` }];
}

function toIssues(issue: z.core.$ZodIssue): Issue[] {
  if (issue.code === 'unrecognized_keys') {
    const keys = issue.keys.slice(0, MAX_ERRORS + 1);
    return keys.map((key) => ({ path: pathText([...issue.path, key]), message: 'is not a known field' }));
  }
  const path = pathText(issue.path);
  if (issue.code === 'invalid_key') return issue.issues.map(({ message }) => ({ path, message }));
  return [{ path, message: plainText(issue) }];
}

function pathText(path: readonly PropertyKey[]): string {
  return path.map((name) => String(name).slice(0, MAX_NAME)).join('.');
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
