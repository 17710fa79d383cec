//! A start tag, and the marks of boilerplate.

/// Classes by which documentation generators mark boilerplate.
const BOILERPLATE_CLASSES: &[&str] = &[
    "breadcrumb",
    "breadcrumbs",
    "headerlink",
    "navbar",
    "navfooter",
    "navheader",
    "related",
    "sphinxsidebar",
    "skip-link",
    "toctree-wrapper-hidden",
];

const BOILERPLATE_ROLES: &[&str] = &["banner", "contentinfo", "navigation", "search"];

/// The start tag that is being parsed.
#[derive(Default)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
}

impl Tag {
    /// The value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `true` for navigation, hidden elements, and those that a class or role marks.
    pub(super) fn is_boilerplate(&self) -> bool {
        let role = self.attribute("role").is_some_and(|role| BOILERPLATE_ROLES.contains(&role));
        let classes = self.attribute("class").unwrap_or_default();
        let class =
            classes.split_ascii_whitespace().any(|class| BOILERPLATE_CLASSES.contains(&class));
        let hidden =
            self.attribute("hidden").is_some() || self.attribute("aria-hidden") == Some("true");
        self.name == "nav" || role || class || hidden
    }
}
