// @vitest-environment node
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { maxLines, maxSize, merged, paced, showAll, showNew, Shown, Tail } from '../../src/logs';

// The machine that tests may do other things, too.
vi.setConfig({ testTimeout: 60_000 });

const piece = (text: string | Uint8Array) => btoa(String.fromCharCode(...(typeof text === 'string' ? new TextEncoder().encode(text) : text)));

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A log, and what it has told. */
function follow(share?: number, draw?: (line: string, isJson: boolean) => string) {
  const told: Shown[] = [];
  const tail = new Tail(shown => told.push(shown), draw, share);
  return { tail, told, last: () => (vi.runAllTimers(), told[told.length - 1]) };
}

describe('a log', () => {
  it('comes in pieces that end in the middle of lines and characters', () => {
    const { tail, last } = follow();
    const bytes = new TextEncoder().encode('one\n日本\nthree');
    for (const byte of bytes) tail.add(piece(Uint8Array.of(byte)));
    expect(last().logs).toEqual(['one\n', '日本\n']);
    tail.finish();
    expect(last().logs).toEqual(['one\n', '日本\n', 'three\n']);
  });

  it('keeps its last lines', () => {
    const { tail, last } = follow();
    const lines = 3 * maxLines;
    for (let i = 0; i < lines; i++) {
      tail.add(piece(`${i}\n`));
      if (i % 5000 === 0) vi.advanceTimersByTime(1000);
    }
    const { logs, first } = last();
    expect(logs).toHaveLength(maxLines);
    expect(logs[logs.length - 1]).toBe(`${lines - 1}\n`);
    expect(logs[0]).toBe(`${first}\n`);
  });

  it('keeps few lines that are long, and cuts one that does not end', () => {
    const { tail, last } = follow();
    for (let i = 0; i < 50; i++) tail.add(piece('x'.repeat(50_000)));
    expect(last().logs.join('').length).toBeLessThanOrEqual(maxSize);
    expect(last().logs.join('').length).toBeGreaterThan(0.9 * maxSize);
    tail.add(piece('\nend\n'));
    expect(last().logs.slice(-1)).toEqual(['end\n']);
  });

  it('that is faster than it is shown shows its end, and has no gap when it is slower again', () => {
    const { tail, told, last } = follow();
    const line = (i: number) => `${i} ${'日'.repeat(100)}\n`;
    tail.add(piece(line(0)));
    for (let i = 1; i < 6600; i++) tail.add(piece(line(i)));
    expect(told.map(one => one.logs)).toEqual([[line(0)]]);
    vi.advanceTimersByTime(500);
    expect(told[1].logs[told[1].logs.length - 1]).toBe(line(6599));
    expect(told[1].logs.join('').length).toBeLessThan(128_000);
    const { logs, source } = last();
    expect(source).not.toBe(told[1].source);
    expect(logs.slice(-3000)).toEqual(Array.from({ length: 3000 }, (_, i) => line(3600 + i)));
    for (const one of told.flatMap(it => it.logs)) expect(one).toMatch(/^\d+ 日+\n$/);
  });

  it('may come all at once', () => {
    const { tail, last } = follow();
    const all = Array.from({ length: maxLines }, (_, i) => `line ${i}\n`);
    tail.add(piece(all.slice(0, 100).join('')));
    for (let i = 100; i < maxLines; i += 100) tail.add(piece(all.slice(i, i + 100).join('')));
    expect(last().logs).toEqual(all);
  });

  it('has a share of the terminal beside others', () => {
    const { tail, last } = follow(10);
    for (let i = 0; i < maxLines; i++) tail.add(piece(`${i}\n`));
    expect(last().logs.length).toBeLessThanOrEqual(0.1 * maxLines);
  });

  it('tells twice a second, and nothing after its end', () => {
    const { tail, told } = follow();
    for (let i = 0; i < 100; i++) {
      tail.add(piece(`${i}\n`));
      vi.advanceTimersByTime(20);
    }
    expect(told.length).toBeLessThanOrEqual(5);
    const before = told.length;
    tail.add(piece('more\n'));
    tail.close();
    vi.runAllTimers();
    expect(told.length).toBe(before);
  });

  it('begins again with a new connection', () => {
    const { tail, told, last } = follow();
    tail.add(piece('old\nbegun'));
    tail.clear();
    tail.add(piece('new\n'));
    expect(last().logs).toEqual(['new\n']);
    expect(last().source).not.toBe(told[0].source);
  });

  it('knows JSON', () => {
    const { tail, last } = follow(1, (line, isJson) => (isJson ? `json ${line}` : line));
    tail.add(piece('plain\n{"a":1}\n'));
    expect(last()).toMatchObject({ logs: ['plain\n', 'json {"a":1}\n'], hasJsonLogs: true });
  });
});

describe('a terminal', () => {
  class Slow {
    text = '';
    done: Array<() => void> = [];
    write(text: string, done?: () => void) {
      this.text += text;
      this.done.push(done!);
    }
    clear() {
      this.text = '';
    }
    bottom = 0;
    scrollToBottom() {
      this.bottom++;
    }
    draw() {
      this.done.shift()!();
      vi.runAllTimers();
    }
  }
  const all = (lines: string[]) => lines;
  const shown = (source: object, first: number, ...logs: string[]): Shown => ({ source, first, logs, hasJsonLogs: false });

  it('gets what is new, also when the beginning is gone', () => {
    const terminal = new Slow();
    const source = {};
    showNew(terminal, shown(source, 0, 'a\n', 'b\n'), all);
    terminal.draw();
    showNew(terminal, shown(source, 1, 'b\n', 'c\n'), all);
    terminal.draw();
    expect(terminal.text).toBe('a\r\nb\r\nc\r\n');
    showNew(terminal, shown(source, 7, 'h\n'), all);
    terminal.draw();
    expect(terminal.text).toBe('a\r\nb\r\nc\r\nh\r\n');
    expect(terminal.bottom).toBe(1);
    showNew(terminal, shown({}, 0, 'other\n'), all);
    terminal.draw();
    expect(terminal.text).toBe('other\r\n');
    expect(terminal.bottom).toBe(2);
  });

  it('is not given more than it draws', () => {
    const terminal = new Slow();
    const source = {};
    for (let i = 0; i < 100; i++) showNew(terminal, shown(source, i, `${i}\n`), all);
    expect(terminal.text).toBe('0\r\n');
    terminal.draw();
    expect(terminal.text).toBe('0\r\n99\r\n');
    terminal.draw();
    for (let i = 0; i < 100; i++) showAll(terminal, [`all ${i}\n`]);
    terminal.draw();
    expect(terminal.text).toBe('all 99\r\n');
  });
});

describe('the logs of several pods', () => {
  it('are in the order of time', () => {
    const a = ['2031-05-04T12:00:00.1Z a1\n', '2031-05-04T12:00:02Z a2\n'];
    const b = ['2031-05-04T12:00:00.12Z b1\n', '2031-05-04T12:00:03Z b2\n'];
    expect(merged({ b, a }).map(line => line.slice(0, 3) + line.slice(-3, -1))).toEqual(['[a]a1', '[b]b1', '[a]a2', '[b]b2']);
  });
});

describe('paced', () => {
  it('does not put off what is told all the time', () => {
    let times = 0;
    const { soon } = paced(() => times++, 100);
    for (let i = 0; i < 100; i++) {
      soon();
      vi.advanceTimersByTime(10);
    }
    expect(times).toBeGreaterThanOrEqual(9);
    expect(times).toBeLessThanOrEqual(11);
  });
});
