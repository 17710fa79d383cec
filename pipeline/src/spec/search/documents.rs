//! `search.documents`: how the passages of one document affect each other in a result.

use schemars::JsonSchema;
use serde::Deserialize;

/// How the passages of one document affect each other in a result.
///
/// ```
/// use pipeline::DocumentsSpec;
///
/// let spec: DocumentsSpec = serde_json::from_str(r#"{ "siblings": 0.3 }"#)?;
/// assert_eq!(spec, DocumentsSpec { siblings: 0.3, lead: 0.0, merge_adjacent: true });
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DocumentsSpec {
    /// Weight of the best other passage of the document in the score of a passage, relative to its
    /// own score.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub siblings: f32,
    /// Share by which the score of the first chunk of each document is raised. It helps if
    /// documents are found as a whole, such as manual pages, and harms if sections are.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub lead: f32,
    /// `true` to display hits that are adjacent in their document as one passage, on the command
    /// line and in the web UI. Clients of the API ask for it in each request.
    pub merge_adjacent: bool,
}

impl Default for DocumentsSpec {
    fn default() -> Self {
        Self { siblings: 0.0, lead: 0.0, merge_adjacent: true }
    }
}
