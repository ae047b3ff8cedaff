//! The sandbox: the supervisor's source, the frames it speaks, and the shape of the pod that it runs in.
//!
//! Opens nothing itself: no process, no socket, no Kubernetes client. Who starts a supervisor (a pod, or a child process
//! on one machine) hands its stdin and stdout to [`Conversation`].

mod conversation;
mod frame;
mod pod;
mod supervisor;

pub use conversation::{Conversation, ConversationError, Ending};
pub use frame::{Decoder, Exit, Frame, FrameError, MAX_PAYLOAD, Message, Ready, Run};
pub use pod::{
    ACTIVE_DEADLINE_SECONDS, CONTAINER, INSTANCE_ANNOTATION, PodSettings, USER_IDS, labels, parked_pod, selector,
};
pub use supervisor::{Place, Seccomp, WORK_DIR, supervisor_command};

/// Output of one script that is kept, standard output and standard error together; more is dropped and said so.
pub const MAX_OUTPUT_BYTES: u64 = 1 << 20;
