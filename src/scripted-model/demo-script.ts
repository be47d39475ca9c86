import type { StepInput } from './steps.ts';

/** The program that the demo's run writes and executes: a few lines of shell, which every system has. */
const PROGRAM = `#!/bin/sh
# Prints the first ten Fibonacci numbers.
a=0; b=1; i=0
while [ "$i" -lt 10 ]; do
  printf '%s ' "$a"
  next=$((a + b)); a=$b; b=$next; i=$((i + 1))
done
echo
`;

const pace = { deltaSize: 6, deltaEveryMs: 35 };

export const DEMO_PROMPT =
  'Write a shell program fibonacci.sh that prints the first ten Fibonacci numbers, run it, save what it printed to result.txt, and report.';

/** What the scripted model answers: three tool calls and a report. */
export const DEMO_SCRIPT: readonly StepInput[] = [
  {
    kind: 'tool_use',
    text: 'I will write the program first.',
    tools: [{ name: 'Write', input: { file_path: 'fibonacci.sh', content: PROGRAM } }],
    ...pace,
  },
  {
    kind: 'tool_use',
    text: 'Now I run it and save what it prints.',
    tools: [{ name: 'Bash', input: { command: 'sh fibonacci.sh | tee result.txt', description: 'Run the program' } }],
    ...pace,
  },
  {
    kind: 'tool_use',
    text: 'I read the file back to be sure.',
    tools: [
      { name: 'Bash', input: { command: 'cat result.txt && wc -w result.txt', description: 'Check the result' } },
    ],
    ...pace,
  },
  {
    kind: 'text',
    text: 'Done. `fibonacci.sh` prints the first ten Fibonacci numbers, from 0 to 34, and `result.txt` holds them: I ran the program and read the file back, and it has ten numbers.',
    ...pace,
  },
];
