import i18next from 'i18next';
import { useTranslation } from 'react-i18next';
import { supportedLanguages } from 'headlamp/i18n/config';
import { zh } from './zh';

const ours = 'skiff';

/** Adds our texts to Headlamp's. Where a language has none, the English text, which is the key, stands. */
export function addTexts() {
  for (const language of Object.keys(supportedLanguages)) {
    i18next.addResourceBundle(language, ours, language === 'zh' ? zh : {}, true, true);
  }
  const wanted = navigator.language.toLowerCase();
  // Headlamp knows zh and zh-TW; a browser says zh-CN, zh-SG or zh-Hans.
  if (!localStorage.getItem('i18nextLng')?.match(/^(?!zh-(cn|sg|hans))/i) && /^zh(-cn|-sg|-hans.*)?$/.test(wanted)) void i18next.changeLanguage('zh');
}

/** Returns a function that gives a text in the language of the page. */
export function useText(): (text: string, values?: Record<string, unknown>) => string {
  const { t } = useTranslation(ours);
  return (text, values) => t(text, { ns: ours, ...values }) as string;
}
