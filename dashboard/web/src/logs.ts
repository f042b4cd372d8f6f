// Logs are followed for hours, and a pod can print faster than a terminal draws. What the page keeps of one is bounded, and the
// terminal sets the pace: what it had no time to show, and is not among the last lines any more, is not shown.

/** How many lines a log has in the page, and how many characters; the terminal keeps as many lines. */
export const maxLines = 10_000;
export const maxSize = 1_000_000;
/** The longest line; what is longer is shown as several. */
const maxLine = 64_000;
/** How often the page shows what is new (ms). */
const interval = 500;
/** How long a terminal that is slow waits at most until it shows what is new (ms). */
const longest = 5000;

/** What a log shows: its last lines, each with its line feed. */
export interface Shown {
  logs: string[];
  first: number; // the number of logs[0] in all that has come
  hasJsonLogs: boolean;
  source: object; // one and the same for one log
}

/** Calls tell at once, and then at most once in an interval while there is something to tell. */
export function paced(tell: () => void, every = interval): { soon: () => void; cancel: () => void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let due = false;
  const run = () => {
    due = false;
    timer = setTimeout(() => {
      timer = undefined;
      if (due) run();
    }, every);
    tell();
  };
  return {
    soon: () => {
      if (timer === undefined) run();
      else due = true;
    },
    cancel: () => {
      clearTimeout(timer);
      timer = undefined;
      due = false;
    },
  };
}

/** How much of what is new becomes text at once (bytes). */
const burst = 128_000;

/**
 * The last lines of a log that comes in pieces, which end anywhere, in the middle of a character too. What comes goes into a
 * ring of bytes and becomes text when it is told. Of a log that is faster than anybody reads only the end does, until it slows
 * down: then all of the ring is told, as a log of its own without a gap.
 */
export class Tail {
  private ring = new Uint8Array(maxSize);
  private begin = 0; // in all bytes that have come: those of this connection
  private start = 0; // what is not text yet
  private finished = false;
  private end = 0;
  private lines: string[] = [];
  private size = 0;
  private first = 0;
  private json = false;
  private gap = false; // lines are left out between those that were told
  private source = {};
  private readonly told;

  /** Of several logs in one terminal each gets its share. A line is shown as draw makes it. */
  constructor(
    tell: (shown: Shown) => void,
    private draw: (line: string, isJson: boolean) => string = line => line,
    private share = 1
  ) {
    this.told = paced(() => {
      this.read();
      tell({ logs: [...this.lines], first: this.first, hasJsonLogs: this.json, source: this.source });
      if (this.gap) this.told.soon();
    });
  }

  /** Adds a piece, in Base64. */
  add(piece: string) {
    const text = atob(piece);
    const { ring } = this;
    let at = this.end % maxSize;
    let due = this.end + text.length - this.start > maxLine;
    for (let i = 0; i < text.length; i++) {
      const byte = text.charCodeAt(i);
      if (byte === lineFeed) due = true;
      ring[at] = byte;
      if (++at === maxSize) at = 0;
    }
    this.end += text.length;
    if (due) this.told.soon();
  }

  /** Begins again, with a new connection. */
  clear() {
    this.begin = this.start = this.end;
    this.restart();
  }

  /** Tells what has come, the beginning of a line included: there will be no more. */
  finish() {
    this.finished = true;
    this.told.soon();
  }

  close() {
    this.told.cancel();
  }

  private restart() {
    this.source = {};
    this.first = 0;
    this.lines = [];
    this.size = 0;
    this.json = false;
    this.gap = false;
  }

  /** Makes lines of what has come; the beginning of one waits for the rest of it, unless it is long or there is no rest. */
  private read() {
    let cut = false;
    if (this.end - this.start > burst / this.share) {
      this.gap = cut = true;
      this.start = this.end - Math.floor(burst / this.share);
    } else if (this.gap) {
      this.restart();
      this.start = Math.max(this.begin, this.end - maxSize);
      cut = this.start > this.begin;
    }
    let end = this.end;
    if (!this.finished) {
      while (end > this.start && this.ring[(end - 1) % maxSize] !== lineFeed) end--;
      if (this.end - end > maxLine) end = this.end;
    }
    const lines = this.text(this.start, end).split('\n');
    this.start = end;
    if (cut && lines.length > 1) lines.shift(); // its beginning is not there
    for (let line of lines) {
      for (; line.length > maxLine; line = line.slice(maxLine)) this.push(line.slice(0, maxLine));
      this.push(line);
    }
    let gone = Math.max(0, this.lines.length - Math.floor(maxLines / this.share));
    for (let i = 0; i < gone; i++) this.size -= this.lines[i].length;
    for (; this.size > maxSize / this.share && gone < this.lines.length - 1; gone++) this.size -= this.lines[gone].length;
    this.lines.splice(0, gone);
    this.first += gone;
  }

  private text(start: number, end: number): string {
    const decoder = new TextDecoder();
    const from = start % maxSize;
    const length = end - start;
    const whole = from + length <= maxSize;
    const beginning = decoder.decode(this.ring.subarray(from, Math.min(from + length, maxSize)), { stream: !whole });
    return whole ? beginning : beginning + decoder.decode(this.ring.subarray(0, from + length - maxSize));
  }

  private push(line: string) {
    if (line.trim() === '') return;
    if (/\{.*\}/.test(line)) this.json = true;
    const drawn = this.draw(`${line}\n`, this.json);
    this.lines.push(drawn);
    this.size += drawn.length;
  }
}

const lineFeed = 10;

interface Terminal {
  write: (text: string, done?: () => void) => void;
  clear: () => void;
  scrollToBottom: () => void;
}

interface Screen {
  busy: boolean;
  next?: () => string;
  cleared?: boolean; // for what it draws now
  source?: object;
  shown: number; // of the lines of source
}

const screens = new WeakMap<Terminal, Screen>();

function screenOf(terminal: Terminal): Screen {
  let screen = screens.get(terminal);
  if (!screen) screens.set(terminal, (screen = { busy: false, shown: 0 }));
  return screen;
}

/**
 * Writes what text gives, once the terminal has drawn what it has; of several that wait only the last is written. A terminal
 * draws for a fifth of the time, so that the page stays usable beside a log that is faster.
 */
function write(terminal: Terminal, text: () => string) {
  const screen = screenOf(terminal);
  if (screen.busy) {
    screen.next = text;
    return;
  }
  const now = text();
  if (now === '') return;
  screen.busy = true;
  const began = performance.now();
  terminal.write(now.replaceAll('\n', '\r\n'), () => {
    setTimeout(() => {
      const { next } = screen;
      // It takes the jump of its scroll bar for the user's, and would stay where it is.
      if (screen.cleared) terminal.scrollToBottom();
      screen.cleared = false;
      screen.busy = false;
      screen.next = undefined;
      if (next) write(terminal, next);
    }, Math.min(4 * (performance.now() - began), longest));
  });
}

function empty(terminal: Terminal) {
  terminal.clear();
  screenOf(terminal).cleared = true;
}

/** Writes the lines that a terminal does not show yet, as filter leaves them. */
export function showNew(terminal: Terminal | null, { logs, first, source }: Shown, filter: (lines: string[]) => string[]) {
  if (!terminal) return;
  write(terminal, () => {
    const screen = screenOf(terminal);
    if (screen.source !== source) {
      empty(terminal);
      screen.source = source;
      screen.shown = 0;
    }
    const lines = filter(logs.slice(Math.max(0, screen.shown - first)));
    screen.shown = first + logs.length;
    return lines.join('');
  });
}

/** Writes these lines in place of all that a terminal shows. */
export function showAll(terminal: Terminal | null, lines: string[]) {
  if (!terminal) return;
  write(terminal, () => {
    empty(terminal);
    screenOf(terminal).source = undefined;
    return lines.join('');
  });
}

/** The lines of several pods in the order of their times, each with the name of its pod. */
export function merged(pods: Record<string, string[]>): string[] {
  const lines = Object.entries(pods).flatMap(([pod, logs]) =>
    logs.map(line => ({ time: /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?/.exec(line)?.[0] ?? '', line: `[${pod}] ${line}` }))
  );
  return lines.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0)).map(one => one.line);
}
