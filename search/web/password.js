// Another password for one's own account. It ends all sessions, so this tab begins a new one with it.

import { dialog, dialogForm, field, toast } from "./dom.js";
import * as api from "./api.js";

export async function changePassword() {
  const user = api.who();
  const words = await dialog("Change your password", (close) =>
    dialogForm(close, {
      words: "All your sessions end, but for this tab. Keys go on.",
      fields: [
        field("Password now", {
          name: "current",
          type: "password",
          required: true,
          autofocus: true,
          autocomplete: "current-password",
        }),
        field(
          "New password",
          { name: "new", type: "password", required: true, minlength: 12, autocomplete: "new-password" },
          "12 characters at least",
        ),
      ],
      action: "Change it",
      send: async (form) => {
        await api.post("/users/me/password", Object.fromEntries(form));
        await api.logIn(user.username, form.get("new"));
        return "You have another password";
      },
    }),
  );
  if (words) toast(words);
}
