//! Plans, states and verdicts as documents for programs: the one shape that every frontend prints,
//! with a JSON schema. The first field names the format. A document never holds a secret, for what
//! it is made of cannot express one.

mod certificates;
mod hosts;
mod plan;
mod report;
mod status;
mod words;

pub use certificates::{CERTIFICATES_FORMAT, CertificateDocument, CertificatesDocument};
pub use hosts::{HOSTS_FORMAT, HostDocument, HostSeen, HostsDocument};
pub use plan::{
    EndingDocument, PLAN_FORMAT, PlanDocument, PlanDocumentError, StageDocument, StepDocument,
};
pub use report::{VERIFY_FORMAT, VerifyDocument};
pub use status::{
    MemberAnswer, MemberHealth, MemberStanding, MemberStatus, STATUS_FORMAT, StatusDocument,
};
pub use words::{changed_lines, describe_call, describe_file, describe_step, operator_words};
