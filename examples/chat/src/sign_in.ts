// The question for a name.

import { element } from './element.js';
import { begin, type Session } from './session.js';

export function signIn(place: HTMLElement, then: (session: Session) => void, name = ''): void {
  const problem = element('p', { class: 'problem', id: 'problem', role: 'alert' });
  const field = element('input', {
    id: 'name',
    value: name,
    maxlength: 30,
    autocomplete: 'nickname',
    spellcheck: 'false',
    required: true,
    'aria-describedby': 'problem',
  });
  const enter = element('button', { type: 'submit' }, 'Join');
  const form = element(
    'form',
    { class: 'sign-in' },
    element('h1', {}, 'Chat'),
    element('p', {}, 'Open this page in a second window, under another name, and talk to yourself.'),
    element('label', { for: 'name' }, 'Your name'),
    field,
    enter,
    problem,
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    enter.disabled = true;
    try {
      then(await begin(field.value.trim()));
    } catch (error) {
      problem.textContent = (error as Error).message;
      field.focus();
    } finally {
      enter.disabled = false;
    }
  });
  document.title = 'Chat';
  place.replaceChildren(form);
  field.focus();
}
