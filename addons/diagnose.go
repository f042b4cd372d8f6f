package addons

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// podProblems returns what ails the pods of a Deployment, DaemonSet, StatefulSet or Job, one sentence per container or
// pod. It is empty when they are merely slow, or cannot be asked: it explains a failure and adds none.
func (c *client) podProblems(ctx context.Context, ref Reference) []string {
	owners, err := c.resource(ref.APIVersion, ref.Kind, ref.Namespace)
	if err != nil {
		return nil
	}
	owner, err := owners.Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	labels, found, err := unstructured.NestedStringMap(owner.Object, "spec", "selector", "matchLabels")
	if err != nil || !found {
		return nil
	}
	pods, err := c.resource("v1", "Pod", ref.Namespace)
	if err != nil {
		return nil
	}
	list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})})
	if err != nil {
		return nil
	}
	var problems []string
	for _, item := range list.Items {
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &pod); err != nil {
			continue
		}
		problems = append(problems, problemsOf(&pod)...)
	}
	return problems
}

func problemsOf(pod *corev1.Pod) []string {
	var problems []string
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			problems = append(problems, fmt.Sprintf("pod %s finds no node: %s", pod.Name, condition.Message))
		}
	}
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if problem := problemOf(status); problem != "" {
			problems = append(problems, fmt.Sprintf("pod %s: %s", pod.Name, problem))
		}
	}
	return problems
}

// problemOf returns why a container does not run, "" when it runs or is only being made. The reasons are those of the
// kubelet (k8s.io/kubernetes, pkg/kubelet/images/types.go and pkg/kubelet/container/sync_result.go).
func problemOf(status corev1.ContainerStatus) string {
	waiting := status.State.Waiting
	ended := status.State.Terminated
	if ended == nil {
		ended = status.LastTerminationState.Terminated
	}
	switch {
	case waiting != nil && strings.Contains(waiting.Reason, "Image"): // ErrImagePull, ImagePullBackOff, InvalidImageName, …
		return fmt.Sprintf("image %s cannot be had: %s", status.Image, or(waiting.Message, waiting.Reason))
	case waiting != nil && strings.Contains(waiting.Reason, "Error"): // CreateContainerConfigError, RunContainerError, …
		return fmt.Sprintf("container %s cannot start: %s", status.Name, or(waiting.Message, waiting.Reason))
	case ended != nil && ended.ExitCode != 0 && status.State.Running == nil:
		problem := fmt.Sprintf("container %s ended %d times, last with status %d", status.Name, max(status.RestartCount, 1), ended.ExitCode)
		if detail := or(strings.TrimSpace(ended.Message), ended.Reason); detail != "" && detail != "Error" {
			problem += " (" + detail + ")"
		}
		return problem
	}
	return ""
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
