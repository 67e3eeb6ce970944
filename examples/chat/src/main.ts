// The page: a name first, then the chat.

import { openChat } from './app.js';
import { begin, remembered, type Session } from './session.js';
import { signIn } from './sign_in.js';

const place = document.querySelector('main') as HTMLElement;

function enter(session: Session): void {
  remembered.set(session.name);
  const close = openChat(session, place, () => {
    close();
    remembered.set(null);
    signIn(place, enter);
  });
}

const name = remembered.get();
if (name === null) signIn(place, enter);
else begin(name).then(enter, () => signIn(place, enter, name));
