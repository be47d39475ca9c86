import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import type { CommandDeps, Demo } from './command-deps.ts';
import { EXIT } from './exit-codes.ts';
import { follow } from './follow.ts';
import { bytes, styled } from './terminal.ts';

const ABOUT = `The model is scripted: it runs on this machine, needs no account and no network, and costs nothing (the
dollars shown are what the same tokens would cost). The claude program, its tools and the files are real.
`;
const OWN_PROMPT = 'Write a program that greets me, run it, and tell me what it said.';

export function demoCommand(deps: CommandDeps): Command {
  return new Command('demo')
    .summary('watch the real claude program do a small task; no account, no network')
    .description(
      'A scripted model on this machine plays the model; the claude program, its tools and the files are real.\n' +
        'The run is kept like any other: see list, show, watch.',
    )
    .addHelpText('after', '\nExample:\n  cc-executor demo\n')
    .action(async () => {
      const { terminal, invocation } = deps;
      const say = (text: string): unknown => terminal.stderr.write(`${text}\n`);
      const title = (text: string): string => styled(terminal, 'bold', text);
      say(`${title('CC Executor demo')}\n${ABOUT}`);
      const demo = await deps.openDemo();
      try {
        say(`${title('task')}  ${demo.request.prompt}\n`);
        let id = '';
        const start = async () => {
          const execution = await demo.client.execute(demo.request);
          id = execution.id;
          return execution;
        };
        const code = await follow(deps, demo.client, { start });
        if (code !== EXIT.succeeded) return deps.exit(code);
        const folder = demo.workspaceOf(id);
        say(`\n${title('files made')}  in ${folder}`);
        for (const { name, size } of await filesIn(folder)) say(`  ${name}  ${bytes(size)}`);
        say(`${title('log')}         in ${deps.dataDirectory()}; read it with: ${invocation} watch ${id}`);
        const wrong = await whatIsWrong(folder, demo.proof);
        if (wrong !== undefined) {
          say(styled(terminal, 'red', wrong));
          return deps.exit(EXIT.failed);
        }
        say('\nThe same with your own credential, in the current directory:');
        say(`  ANTHROPIC_API_KEY=sk-ant-… ${invocation} run "${OWN_PROMPT}" --allow Write,Bash`);
      } finally {
        await demo.close();
      }
    });
}

/** The outcome is what claude says; this looks at what was really made. */
async function whatIsWrong(folder: string, { file, text }: Demo['proof']): Promise<string | undefined> {
  try {
    const found = await readFile(join(folder, file), 'utf8');
    return found.trim() === text ? undefined : `${file} does not hold what it should: ${text}`;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return `${file} was not made`;
    throw error;
  }
}

async function filesIn(folder: string): Promise<{ name: string; size: number }[]> {
  const names = (await readdir(folder)).sort();
  return Promise.all(names.map(async (name) => ({ name, size: (await stat(join(folder, name))).size })));
}
