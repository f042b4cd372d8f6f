// skiff's colours. Every text has a contrast of 4.5 to 1 or more with what it stands on (WCAG 2, 1.4.3).
const fontFamily = ['system-ui', '-apple-system', '"Segoe UI"', 'Roboto', '"Noto Sans"', '"Noto Sans CJK SC"', '"PingFang SC"', 'sans-serif'];

export const lightTheme = {
  name: 'light',
  base: 'light' as const,
  primary: '#0b5563',
  secondary: '#e7eff1',
  text: { primary: '#17252b' },
  link: { color: '#0b5f8a' },
  background: { default: '#ffffff', surface: '#ffffff', muted: '#f2f6f7' },
  sidebar: { background: '#0f2a33', color: '#d5e3e7', selectedBackground: '#8fd3dd', selectedColor: '#ffffff', actionBackground: '#0b5563' },
  navbar: { background: '#f2f6f7', color: '#17252b' },
  buttonTextTransform: 'none' as const,
  radius: 6,
  fontFamily,
};

export const darkTheme = {
  name: 'dark',
  base: 'dark' as const,
  primary: '#8fd3dd',
  secondary: '#22323a',
  text: { primary: '#e8eff2' },
  link: { color: '#8cc8f0' },
  background: { default: '#10171d', surface: '#172129', muted: '#1b2730' },
  sidebar: { background: '#0c1318', color: '#c6d3d9', selectedBackground: '#8fd3dd', selectedColor: '#ffffff', actionBackground: '#22323a' },
  navbar: { background: '#0c1318', color: '#e8eff2' },
  buttonTextTransform: 'none' as const,
  radius: 6,
  fontFamily,
};

export default [lightTheme, darkTheme];
