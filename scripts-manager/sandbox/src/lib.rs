//! The sandbox: the supervisor's source, the frames it speaks, and the shape of the pod that it runs in.
//!
//! Opens nothing itself: no process, no socket, no Kubernetes client. Who starts a supervisor (a pod, or a child process
//! on one machine) hands its stdin and stdout to [`Conversation`].

mod conversation;
mod ending;
mod frame;
mod installer;
mod pod;
mod relay;
mod shape;
mod supervisor;

pub use conversation::{Conversation, ConversationError};
pub use ending::{Ending, EndingError, File};
pub use frame::{
    Canary, Caps, Decoder, Exit, Frame, FrameError, Hello, LayerDone, MAX_FILES, MAX_FILES_BYTES, MAX_OUTPUT_BYTES,
    MAX_PAYLOAD, Message, Ready, Run,
};
pub use installer::{INSTALLER_CONTAINER, InstallerPodSettings, installer_command, installer_pod};
pub use pod::{
    ACTIVE_DEADLINE_SECONDS, CONTAINER, INSTANCE_ANNOTATION, PodSettings, USER_IDS, labels, parked_pod, selector,
};
pub use relay::Relay;
pub use shape::{Amounts, AmountsError, Shape};
pub use supervisor::{PACKAGES_DIR, Place, Seccomp, SupervisorSettings, WORK_DIR, Walls, supervisor_command};
