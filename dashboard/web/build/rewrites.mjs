// What is changed in the text of Headlamp's package. Each change says why, and fails the build when the text is not there any
// more: a new version of the package may have moved it.

const lazyRoutes = {
  file: 'lib/router/index.js',
  why: 'pages are loaded when they are opened; the first page is half a megabyte smaller',
  change(code) {
    const eager = /^import (?:(\w+)|\{ (\w+) \}) from '(\.\.\/\.\.\/components\/(?!Sidebar|common)[^']+)';$/gm;
    let imports = 0;
    const lazy = code.replace(eager, (_, whole, part, from) => {
      imports++;
      return whole
        ? `const ${whole} = React.lazy(() => import('${from}'));`
        : `const ${part} = React.lazy(() => import('${from}').then(it => ({ default: it.${part} })));`;
    });
    return imports > 60 ? lazy : undefined;
  },
};

/** A change of one text, which must be there as often as said. */
function replace(file, why, from, to, times = 1) {
  return {
    file,
    why,
    change(code) {
      const parts = code.split(from);
      return parts.length === times + 1 ? parts.join(to) : undefined;
    },
  };
}

/** Puts a text in the place of what lies from one text up to another; the first must be there once. */
function between(file, why, from, upTo, text) {
  return {
    file,
    why,
    change(code) {
      const start = code.indexOf(from);
      const end = code.indexOf(upTo, start);
      return start >= 0 && end >= 0 && code.indexOf(from, start + 1) < 0 ? code.slice(0, start) + text + code.slice(end) : undefined;
    },
  };
}

const bounded = 'what the page keeps of a log is bounded, and follows the terminal; see src/logs.ts';

function logsFrom(file, names) {
  return { file, why: bounded, change: code => `import { ${names} } from '/src/logs.ts';\n${code}` };
}

const choiceOfAll = '_jsx(MenuItem, { value: -1, children: "All" })';
const choiceOfMost = '_jsx(MenuItem, { value: maxLines, children: maxLines })';

const logs = [
  logsFrom('lib/k8s/pod.js', 'Tail'),
  replace('lib/k8s/pod.js', bounded, 'formatJsonValues = false, onReconnectStop, }', 'formatJsonValues = false, onReconnectStop, share, }'),
  replace('lib/k8s/pod.js', bounded, '        let logs = [];\n        let hasJsonLogs = false;\n', ''),
  between(
    'lib/k8s/pod.js',
    bounded,
    '        function onResults(item) {',
    '        const { cancel } = stream(',
    `        const tail = new Tail(onLogs, (line, isJson) => (isJson && prettifyLogs ? prettifyLogLine(line) : line), share);
        const onResults = item => tail.add(item);
`
  ),
  between('lib/k8s/pod.js', bounded, '                logs = [];\n                hasJsonLogs = false;', '            },\n            /**', '                tail.clear();\n'),
  replace('lib/k8s/pod.js', bounded, '            failCb: () => {\n', '            failCb: () => {\n                tail.finish();\n'),
  replace(
    'lib/k8s/pod.js',
    bounded,
    '        return cancel;\n    }\n    attach(',
    '        return () => {\n            cancel();\n            tail.close();\n        };\n    }\n    attach('
  ),

  logsFrom('components/pod/Details.js', 'maxLines, showNew'),
  replace('components/pod/Details.js', bounded, choiceOfAll, choiceOfMost),
  between(
    'components/pod/Details.js',
    bounded,
    '    function setLogsDebounced(',
    '        // If we stopped following the logs',
    `    function showLogs(shown) {
        const { logs: logLines, hasJsonLogs } = shown;
        setHasJsonLogs(hasJsonLogs);
        showNew(xtermRef.current, shown, lines => filterLogsBySeverity(prettifyLogs && hasJsonLogs ? lines.map(colorizePrettifiedLog) : lines, selectedSeveritiesRef.current));
        setLogs({ logs: logLines, lastLineShown: logLines.length - 1 });
`
  ),
  replace('components/pod/Details.js', bounded, '    const options = { leading: true, trailing: true, maxWait: 1000 };\n', ''),
  replace('components/pod/Details.js', bounded, '    const debouncedSetState = _.debounce(setLogsDebounced, 500, options);\n', ''),
  replace('components/pod/Details.js', bounded, 'getLogs(container, debouncedSetState, {', 'getLogs(container, showLogs, {', 2),

  logsFrom('components/common/Resource/LogsButton.js', 'maxLines, merged, paced, showAll, showNew'),
  replace('components/common/Resource/LogsButton.js', bounded, choiceOfAll, choiceOfMost),
  between(
    'components/common/Resource/LogsButton.js',
    bounded,
    '        const allLogs = [];',
    '        // Store RAW logs in state for downloads',
    `        const allLogs = merged(logsData);
        showAll(xtermRef.current, filterLogsBySeverity(allLogs, selectedSeverities));
`
  ),
  replace(
    'components/common/Resource/LogsButton.js',
    'a pod that prints all the time would put off for ever what waits for a pause',
    '        const cleanups = [];\n',
    '        const together = {};\n        const told = paced(() => setAllPodLogs({ ...together }));\n        const cleanups = [told.cancel];\n'
  ),
  between(
    'components/common/Resource/LogsButton.js',
    'as above',
    '            processLogsTimerRef.current = setTimeout(() => {',
    '        }\n        return () => {\n            if (processLogsTimerRef.current)',
    '            processedLogsRef.current = allPodLogs;\n            processAllLogs(allPodLogs);\n'
  ),
  between(
    'components/common/Resource/LogsButton.js',
    bounded,
    '                const podName = pod.getName();',
    '            }, {\n                tailLines: lines,',
    '                together[pod.getName()] = newLogs;\n                told.soon();\n'
  ),
  replace(
    'components/common/Resource/LogsButton.js',
    bounded,
    '            }, {\n                tailLines: lines,\n',
    '            }, {\n                tailLines: lines,\n                share: pods.length,\n'
  ),
  between(
    'components/common/Resource/LogsButton.js',
    bounded,
    '                let lastLogLength = 0;',
    '                }, {\n                    tailLines: lines,',
    `                cleanup = pod.getLogs(selectedContainer, shown => {
                    if (!isSubscribed)
                        return;
                    showNew(xtermRef.current, shown, lines => filterLogsBySeverity(lines, selectedSeveritiesRef.current));
                    setLogs({ logs: shown.logs, lastLineShown: shown.logs.length - 1 });
`
  ),
];

const measured = 'what is not measured is not shown, instead of nought; an addon that measures is offered where the catalog has one';

function withEnableMetrics(file) {
  return { file, why: measured, change: code => `import { EnableMetrics } from '/src/EnableMetrics.tsx';\n${code}` };
}

const enableMetrics = "_jsx(EnableMetrics, {}, 'enable-metrics')";
const notInstalled = "const noMetrics = metricsError?.status === 404;";
const notMeasured = 'const noMetrics = !nodeMetrics?.length;';

const metrics = [
  withEnableMetrics('components/pod/List.js'),
  replace(
    'components/pod/List.js',
    measured,
    '[_jsx(CreateResourceButton, { resourceClass: Pod }, "create-pod-button")]',
    `[_jsx(CreateResourceButton, { resourceClass: Pod }, "create-pod-button"), ${enableMetrics}]`
  ),

  withEnableMetrics('components/node/List.js'),
  replace('components/node/List.js', measured, notInstalled, notMeasured),
  replace('components/node/List.js', measured, 'noNamespaceFilter: true,', `noNamespaceFilter: true,\n            titleSideActions: [${enableMetrics}],`),
  replace('components/node/List.js', measured, "            {\n                id: 'cpu',", "            ...(noMetrics ? [] : [{\n                id: 'cpu',"),
  replace('components/node/List.js', measured, "resourceType: \"memory\", noMetrics: noMetrics })),\n            },", "resourceType: \"memory\", noMetrics: noMetrics })),\n            }]),"),

  replace('components/node/Details.js', measured, notInstalled, notMeasured),
  replace('components/node/Details.js', measured, '_jsx(Box, { children: _jsx(CpuCircularChart,', '!noMetrics && _jsx(Box, { children: _jsx(CpuCircularChart,'),
  replace('components/node/Details.js', measured, '_jsx(Box, { children: _jsx(MemoryCircularChart,', '!noMetrics && _jsx(Box, { children: _jsx(MemoryCircularChart,'),
  replace(
    'components/node/Details.js',
    'the server lets no page of a kubelet through',
    ', _jsx(Box, { children: _jsx(EphemeralStorageCircularChart, { node: node, summaryStats: summaryStats, summaryError: summaryError }) })',
    ''
  ),
  replace(
    'components/node/Details.js',
    'as above',
    'const [nodeSummaryStats, nodeSummaryError] = Node.useNodeSummaryStats(name, cluster);',
    'const nodeSummaryStats = null, nodeSummaryError = null;'
  ),

  withEnableMetrics('components/cluster/Overview.js'),
  replace('components/cluster/Overview.js', measured, notInstalled, notMeasured),
  replace(
    'components/cluster/Overview.js',
    measured,
    'p.processor(currentCharts), defaultCharts)',
    "p.processor(currentCharts), defaultCharts.filter(one => !noMetrics || (one.id !== 'cpu' && one.id !== 'memory')))"
  ),
  replace(
    'components/cluster/Overview.js',
    measured,
    "title: t('translation|Overview'), py: 2,",
    `title: t('translation|Overview'), headerProps: { headerStyle: 'subsection', titleSideActions: [${enableMetrics}] }, py: 2,`
  ),
];

/** A module of the package that is ours instead. */
function instead(file, why, ours) {
  return { file, why, change: () => `export * from ${JSON.stringify(ours)};\nexport { default } from ${JSON.stringify(ours)};\n` };
}

export const changes = [
  lazyRoutes,
  replace('lib/router/index.js', 'the server forwards ports', "sidebar: 'portforwards',\n        disabled: !isElectron(),", "sidebar: 'portforwards',"),
  replace('components/Sidebar/useSidebarItems.js', 'the server forwards ports', 'hide: !isElectron(),', 'hide: false,'),
  replace(
    'components/common/Resource/PortForward.js',
    'the server forwards ports',
    "import { isElectron } from '../../../helpers/isElectron';",
    'const isElectron = () => true;'
  ),
  ...logs,
  ...metrics,
  replace(
    'components/Sidebar/useSidebarItems.js',
    'there are no plugins',
    "{\n                        name: 'plugins',\n                        label: t('translation|Plugins'),\n                        url: '/settings/plugins',\n                    },",
    ''
  ),
  replace(
    'components/common/Resource/EditButton.js',
    'an edit is raised and replaces the object through skiff; why it is refused stands in the editor, and a conflict shows both sides',
    "import EditorDialog from './EditorDialog';",
    "import { bringBack, Editing, save, showRefusal } from '/src/edit.tsx';"
  ),
  replace('components/common/Resource/EditButton.js', 'as above', 'await item.update(newItem);', 'await save(newItem, item);'),
  replace('components/common/Resource/EditButton.js', 'as above', 'Activity.update(activityId, { minimized: false });', 'showRefusal(activityId, err, newItem, item);'),
  replace('components/common/Resource/EditButton.js', 'as above', 'setErrorMessage(makeErrorMessage(err));', ''),
  replace('components/common/Resource/EditButton.js', 'as above', '_jsx(EditorDialog, {', '_jsx(Editing, {'),
  replace(
    'components/common/Resource/EditButton.js',
    'a text of several objects is refused, where all but the first would be lost',
    'const newItemDef = Array.isArray(items) ? items[0] : items;',
    'const newItemDef = items;'
  ),
  replace(
    'components/common/Resource/EditButton.js',
    'an edit that is cancelled is still in its editor',
    'errorUrl: cancelUrl,',
    'errorUrl: cancelUrl, cancelCallback: () => bringBack(activityId),'
  ),
  replace(
    'components/Sidebar/useSidebarItems.js',
    "skiff's own pages stand first, in the order in which they are registered",
    'sidebarEntry.subList?.push(item);',
    'sidebarEntry.subList?.splice(customEntries.filter(it => !it.parent).indexOf(item), 0, item);'
  ),
  replace('components/Sidebar/Sidebar.js', 'the sidebar grows with its letters, which are larger on a large screen', 'export const drawerWidth = 240;', "export const drawerWidth = '15rem';"),
  replace(
    'components/common/Resource/UploadDialog.js',
    'the policy of the server keeps the page from fetching an address elsewhere: a manifest comes from a file',
    `                    {
                        label: t('translation|Load from URL'),
                        component: (_jsx(Box, { pt: 2, children: _jsx(UploadFromUrl, { onLoaded: finishLoad, onCancel: () => setUploadFiles(false) }) })),
                    },
`,
    ''
  ),
  replace('components/common/Resource/UploadDialog.js', 'as above', 'translation|Upload File/URL', 'translation|Upload File'),
  replace('components/common/Resource/EditorDialog.js', 'as above', 'translation|Upload File/URL', 'translation|Upload File'),
  replace('components/common/Resource/RestartButton.js', 'a restart is watched on the page of what is restarted', 'startUrl: item.getListLink(),', ''),
  replace(
    'components/common/Resource/EditorDialog.js',
    'the parser of OpenAPI is loaded with the tab of documentation',
    "import DocsViewer from './DocsViewer';",
    "const DocsViewer = React.lazy(() => import('./DocsViewer'));"
  ),
  replace(
    'components/common/Resource/index.js',
    'as above',
    "export * from './DocsViewer';\nexport { default as DocsViewer } from './DocsViewer';",
    ''
  ),
  replace(
    'components/cluster/ClusterGroupErrorMessage.js',
    'what the API server said names the right that is missing',
    'const [showMessage, setShowMessage] = useState(false);',
    'const [showMessage, setShowMessage] = useState(true);'
  ),
  replace('lib/k8s/KubeObject.js', 'as above', "return 'Error: No permissions';", "return err.message || 'Error: No permissions';"),
  replace('lib/k8s/KubeObject.js', 'as above', "return 'Error';", "return err.message || 'Error';"),
  instead('lib/k8s/api/v1/apply.js', 'what is created goes through the apply of skiff, which raises API versions that are gone', '/src/apply.ts'),
  instead('components/App/defaultAppThemes.js', 'the colours are our own', '/src/theme.ts'),
  replace('components/common/ConfirmDialog.js', 'a button is called what it says', '"aria-label": "cancel-button", ', ''),
  replace('components/common/ConfirmDialog.js', 'as above', '"aria-label": "confirm-button", ', ''),
  replace('components/404/index.js', 'a picture of another name', "import headlampBrokenImage from '../../assets/headlamp-404.svg';", "const headlampBrokenImage = '/icon.svg';"),
];

/** rewrites makes the changes, as a plugin of Vite. */
export function rewrites(headlamp) {
  const made = new Set();
  return {
    name: 'skiff-rewrites',
    enforce: 'pre',
    buildStart: () => made.clear(),
    transform(code, id) {
      const path = id.split('?')[0];
      if (!path.startsWith(headlamp + '/')) return null;
      const file = path.slice(headlamp.length + 1);
      let changed = code;
      changes.forEach((one, index) => {
        if (one.file !== file) return;
        const next = one.change(changed);
        if (next === undefined || next === changed) throw new Error(`${file}: the text to change is not there (${one.why}); see build/rewrites.mjs`);
        changed = next;
        made.add(index);
      });
      return changed === code ? null : { code: changed, map: null };
    },
    buildEnd(error) {
      if (error) return;
      const missed = changes.filter((_, index) => !made.has(index)).map(one => `${one.file} (${one.why})`);
      if (missed.length > 0) this.error(`these files of Headlamp were to be changed and are not part of the page: ${missed.join(', ')}`);
    },
  };
}
