"""The VAE and the training loop of well-known tutorials, as a baseline for speed.

It uses automatic differentiation, a standard optimizer, a ``DataLoader`` that converts images to tensors one by one,
and a loss that is read after every step.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class TutorialVAE(nn.Module):
    """An MLP 784-400-20-400-784 that ends with a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, 20)
        self.fc22 = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, 784)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images (B, 784) to mean and log-variance, each (B, 20)."""
        hidden = F.relu(self.fc1(x))
        return self.fc21(hidden), self.fc22(hidden)

    def reparameterize(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Draw a sample from the posterior (B, 20)."""
        deviation = torch.exp(0.5 * log_variance)
        return mean + torch.randn_like(deviation) * deviation

    def decode(self, z: Tensor) -> Tensor:
        """Decode codes (B, 20) to intensities (B, 784)."""
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 1, 28, 28) to reconstruction, mean and log-variance."""
        mean, log_variance = self.encode(x.view(-1, 784))
        return self.decode(self.reparameterize(mean, log_variance)), mean, log_variance


def loss_function(reconstruction: Tensor, x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """The negative ELBO, summed over the batch."""
    cross_entropy = F.binary_cross_entropy(reconstruction, x.view(-1, 784), reduction="sum")
    kl = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    return cross_entropy + kl


class Tutorial:
    """The tutorial's training loop, one epoch per call."""

    def __init__(
        self, images: Dataset[tuple[Tensor, int]], batch_size: int, learning_rate: float, device: torch.device
    ) -> None:
        self.device = device
        self.loader = DataLoader(images, batch_size=batch_size, shuffle=True)
        self.model = TutorialVAE().to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=learning_rate)

    def epoch(self) -> float:
        """Train on every image once, and return the average loss in nats per image."""
        self.model.train()
        train_loss, count = 0.0, 0
        for batch, _ in self.loader:
            x = batch.to(self.device)
            self.optimizer.zero_grad()
            reconstruction, mean, log_variance = self.model(x)
            loss = loss_function(reconstruction, x, mean, log_variance)
            loss.backward()
            train_loss += loss.item()
            self.optimizer.step()
            count += len(x)
        return train_loss / count
