// Another password for one's own account. It ends all sessions, so this browser begins a new one with it.

import { dialog, dialogForm, field, toast } from "./dom.js";
import * as api from "./api.js";

export async function changePassword() {
  const words = await dialog("Change your password", (close) =>
    dialogForm(close, {
      words: "All your sessions end, but for this browser. Keys go on.",
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
        await api.changePassword(Object.fromEntries(form));
        return "You have another password";
      },
    }),
  );
  if (words) toast(words);
}
