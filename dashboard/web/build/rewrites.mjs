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
  replace(
    'lib/k8s/pod.js',
    'a log is kept in memory as long as it is followed: its last two million characters are enough',
    'logs.push(processedLog);',
    `logs.push(processedLog);
            logs.size = (logs.size ?? 0) + processedLog.length;
            if (logs.size > 2000000) {
                while (logs.size > 1000000 && logs.length > 1) logs.size -= logs.shift().length;
            }`
  ),
  replace(
    'components/Sidebar/useSidebarItems.js',
    'there are no plugins',
    "{\n                        name: 'plugins',\n                        label: t('translation|Plugins'),\n                        url: '/settings/plugins',\n                    },",
    ''
  ),
  replace(
    'components/common/Resource/EditButton.js',
    'the server says why it refuses an edit, and a conflict shows both sides',
    'setErrorMessage(makeErrorMessage(err));',
    'setErrorMessage(whyRefused(err, newItem, item));'
  ),
  {
    file: 'components/common/Resource/EditButton.js',
    why: 'as above',
    change: code => `import { whyRefused } from '/src/conflict.tsx';\n${code}`,
  },
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
