// Changes the password of the own account. The server ends all sessions, and this browser starts a
// new one.

import { dialog, dialogForm, field, toast } from "./dom.js";
import * as api from "./api.js";

export async function changePassword() {
  const words = await dialog("Change your password", (close) =>
    dialogForm(close, {
      words: "All your other sessions end. API keys stay valid.",
      fields: [
        field("Current password", {
          name: "current",
          type: "password",
          required: true,
          autofocus: true,
          autocomplete: "current-password",
        }),
        field(
          "New password",
          { name: "new", type: "password", required: true, minlength: 12, autocomplete: "new-password" },
          "At least 12 characters",
        ),
      ],
      action: "Change password",
      send: async (form) => {
        await api.changePassword(Object.fromEntries(form));
        return "Password changed";
      },
    }),
  );
  if (words) toast(words);
}
