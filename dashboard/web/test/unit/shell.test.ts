import { describe, expect, it } from 'vitest';
import { again } from '../../src/again';
import { makeScheduler } from '../../src/scheduler';
import { edited } from '../../src/edited';
import { pathOf, plain } from '../../src/paths';
import { percent } from '../../src/jobs';
import { places, typing } from '../../src/places';
import { progress } from '../../src/pages/progress';
import { zh } from '../../src/zh';
import { view } from '../../src/view';
import { versionOf, seen } from '../../src/pages/parts';

describe('scheduler', () => {
  it('tells at once after a pause, and then ten times a second', () => {
    let now = 1000;
    const waits: number[] = [];
    const runs: Array<() => void> = [];
    const told: string[] = [];
    const schedule = makeScheduler(100, () => now, (run, wait) => (waits.push(wait), runs.push(run)));
    schedule(() => told.push('a'));
    schedule(() => told.push('b'));
    expect(waits).toEqual([0]);
    runs.pop()!();
    expect(told).toEqual(['a', 'b']);
    now += 30;
    schedule(() => told.push('c'));
    expect(waits).toEqual([0, 70]);
  });
});

describe('view', () => {
  const up = { up: true, times: 1 };
  const state = (phase: any) => ({ profile: 'dev', version: '', phase });
  it('waits for the first answer', () => {
    expect(view(undefined, { up: false, times: 0 })).toBe('waiting');
    expect(view(state('running'), { up: false, times: 0 })).toBe('waiting');
  });
  it('shows the state of a cluster that does not run', () => {
    for (const phase of ['stopped', 'paused', 'absent', 'broken']) expect(view(state(phase), up)).toBe('state');
    expect(view(state('starting'), { up: false, times: 0 })).toBe('state');
  });
  it('keeps the pages while the API server is away', () => {
    expect(view(state('starting'), { up: false, times: 1 })).toBe('pages');
    expect(view(null, up)).toBe('pages');
  });
});

describe('progress', () => {
  const none = { addons: [], deployments: [], services: [], ingresses: [] };
  const own = { metadata: { namespace: 'default', name: 'meow' } };
  const deployment = (ready: number, annotations = {}) => ({ metadata: { ...own.metadata, annotations }, spec: { replicas: 2 }, status: { readyReplicas: ready } });
  const ingress = { ...own, spec: { rules: [{ http: { paths: [{ path: '/meow', backend: { service: { name: 'meow' } } }] } }] } };
  it('ticks nothing off in a new cluster', () => {
    expect(progress({ ...none, deployments: [{ metadata: { namespace: 'kube-system', name: 'coredns' }, spec: { replicas: 1 }, status: { readyReplicas: 4 } }] })).toEqual({
      ingress: false, deployed: false, ready: false, reachable: undefined, changed: false,
    });
  });
  it('follows the cluster', () => {
    const all = { addons: [{ Name: 'ingress', Description: '', Enabled: true }], deployments: [deployment(2)], services: [own], ingresses: [ingress] };
    expect(progress(all)).toEqual({ ingress: true, deployed: true, ready: true, reachable: { path: '/meow' }, changed: false });
    expect(progress({ ...all, deployments: [deployment(1)] }).ready).toBe(false);
    expect(progress({ ...all, deployments: [deployment(4)] }).changed).toBe(true);
    expect(progress({ ...all, deployments: [deployment(2, { 'deployment.kubernetes.io/revision': '3' })] }).changed).toBe(true);
    expect(progress({ ...all, services: [] }).reachable).toBeUndefined();
  });
});

describe('parts', () => {
  it('reads versions from images', () => {
    expect(versionOf('registry.k8s.io/etcd:3.6.6-0')).toBe('3.6.6-0');
    expect(versionOf('localhost:5000/x/y:v1@sha256:0')).toBe('v1');
    expect(versionOf('plain')).toBe('');
    expect(versionOf(undefined)).toBe('');
  });
  it('tells parts that are absent from those that are not ready', () => {
    const pod = (ready: string) => ({ metadata: { name: 'a', namespace: 'kube-system', labels: { component: 'etcd' } }, spec: {}, status: { conditions: [{ type: 'Ready', status: ready }] } });
    expect(seen([], 'etcd').healthy).toBeUndefined();
    expect(seen(null, 'etcd').healthy).toBeUndefined();
    expect(seen([pod('True')], 'etcd').healthy).toBe(true);
    expect(seen([pod('False')], 'etcd').healthy).toBe(false);
  });
});

describe('again', () => {
  it('leaves what was refused, and tries the rest three times', () => {
    expect(again(0, { status: 403 })).toBe(false);
    expect(again(0, { status: 502 })).toBe(true);
    expect(again(0, new Error('no network'))).toBe(true);
    expect(again(3, { status: 502 })).toBe(false);
  });
});

describe('jobs', () => {
  it('say how far they are where they count', () => {
    const job = { id: 1, what: 'start' as const, about: '', text: '', ended: false };
    expect(percent(job)).toBeUndefined();
    expect(percent({ ...job, step: 3, steps: 8 })).toBe(25);
    expect(percent({ ...job, done: 1, total: 4 })).toBe(25);
  });
});

describe('conflict', () => {
  it('knows where an object is', () => {
    const item = (apiVersion: string, apiName: string, metadata: object) => ({ jsonData: { apiVersion, metadata }, _class: () => ({ apiName }) });
    expect(pathOf(item('apps/v1', 'deployments', { namespace: 'd', name: 'w' }))).toBe('/apis/apps/v1/namespaces/d/deployments/w');
    expect(pathOf(item('v1', 'nodes', { name: 'n' }))).toBe('/api/v1/nodes/n');
  });
  it('hides what is the API server’s own', () => {
    expect(plain({ kind: 'A', metadata: { name: 'a', managedFields: [] }, status: {} })).toEqual({ kind: 'A', metadata: { name: 'a' } });
  });
});

describe('edited', () => {
  const item = { kind: 'Deployment', metadata: { name: 'web', namespace: 'shop', resourceVersion: '7' } };
  it('takes from the object what a manifest that was pasted lacks', () => {
    expect(edited([{ kind: 'Deployment', metadata: { name: 'web' } }], item)).toEqual({ object: item });
    expect(edited([{ kind: 'Node', metadata: { name: 'n' } }], { kind: 'Node', metadata: { name: 'n' } })).toEqual({ object: { kind: 'Node', metadata: { name: 'n' } } });
  });
  it('leaves what the text has', () => {
    const text = { kind: 'Deployment', spec: {}, metadata: { name: 'web', namespace: 'shop', resourceVersion: '6', labels: { a: 'b' } } };
    expect(edited([text], item)).toEqual({ object: text });
  });
  it('is of one object, and of the same', () => {
    for (const texts of [[], [item, item], [undefined], [{ kind: 'Deployment' }], [{ ...item, kind: 'Pod' }], [{ ...item, metadata: { name: 'x' } }], [{ ...item, metadata: { name: 'web', namespace: 'x' } }]]) {
      expect(edited(texts, item)).toHaveProperty('problem');
    }
  });
});

describe('keyboard', () => {
  it('has one place for a letter', () => {
    expect(new Set(places.map(one => one.letter)).size).toBe(places.length);
  });
  it('leaves keys to what is typed into', () => {
    document.body.innerHTML = '<input id="a"><div class="xterm"><b id="b"></b></div><p id="c"></p>';
    expect(['a', 'b', 'c'].map(id => typing(document.getElementById(id)))).toEqual([true, true, false]);
  });
});

describe('texts', () => {
  it('are all there in Chinese', () => {
    const missing = new Set<string>();
    const sources = import.meta.glob<string>('../../src/**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true });
    expect(Object.keys(sources).length).toBeGreaterThan(20);
    for (const source of Object.values(sources)) {
      for (const [, text] of source.matchAll(/\b(?:i18next\.)?t\('((?:[^'\\]|\\.)+)'/g)) if (!zh[text]) missing.add(text);
      for (const [, text] of source.matchAll(/\b(?:title|text|start|what|name|problem): '((?:[^'\\]|\\.)+)'/g)) if (!zh[text] && / /.test(text)) missing.add(text);
    }
    expect([...missing]).toEqual([]);
  });
});
