// How much memory pages need.
import fs from 'node:fs';

/** The processes that draw pages. */
export async function renderers(context) {
  const session = await context.browser().newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  return processInfo.filter(one => one.type === 'renderer').map(one => one.id);
}

/** The memory that a process shares with no other (bytes). */
export function memory(process) {
  return Number(/^RssAnon:\s*(\d+) kB/m.exec(fs.readFileSync(`/proc/${process}/status`, 'utf8'))[1]) * 1024;
}
